/**
 * A carrier as Twilio documents its voice webhooks and Media Streams: it asks for TwiML over a signed form, opens the stream
 * that is answered, speaks mu-law in 20 ms messages and plays what it is sent. It is strict about what comes back.
 */
import { encodeMulaw } from "@rspp/audio/g711";
import { resample } from "@rspp/audio/resample";
import twilio from "twilio";
import { WebSocket } from "ws";
import { Playout } from "./playout.ts";
import { type Answered, parseTwiml } from "./twiml.ts";

export const AUTH_TOKEN = "12345678901234567890123456789012";
const SILENCE = 0xff;
const FRAME_BYTES = 160;

/** What the way from the carrier does to the caller's packets. */
export interface Impairment {
  /** 0 to 1. */
  readonly loss?: number;
  /** Each packet is late by up to so much, milliseconds, and so out of order. */
  readonly jitterMs?: number;
  /** Packets of these many bytes, in turn, in place of 160. */
  readonly chunkBytes?: readonly number[];
}

export interface CallOptions extends Impairment {
  readonly from?: string;
  readonly to?: string;
  readonly callSid?: string;
  readonly authToken?: string;
  readonly answeredBy?: string;
  /** Seed of the impairment. */
  readonly seed?: number;
}

/** Posts a webhook's form, signed as Twilio signs it. */
export async function post(url: string, form: Record<string, string>, authToken = AUTH_TOKEN): Promise<Response> {
  const signature = twilio.getExpectedTwilioSignature(authToken, url, form);
  return fetch(url, {
    method: "POST",
    headers: { "x-twilio-signature": signature, "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams(form).toString(),
  });
}

let calls = 0;
const sid = (prefix: string): string => `${prefix}${(0x10_0000 + calls++).toString(16).padStart(32, "0")}`;

/** A call to the number behind the voice webhook; resolves once its stream has begun. @throws when it is not answered. */
export async function dialIn(voiceUrl: string, options: CallOptions = {}): Promise<CarrierCall> {
  const call = new CarrierCall(options);
  const { from = "+15550199", to = "+15550100", answeredBy } = options;
  const form = { CallSid: call.callSid, AccountSid: call.accountSid, From: from, To: to, CallStatus: "ringing" };
  const machine = answeredBy === undefined ? {} : { AnsweredBy: answeredBy };
  const answer = await post(voiceUrl, { ...form, ...machine }, options.authToken);
  if (answer.status !== 200) throw new Error(`the webhook answered ${answer.status}: ${await answer.text()}`);
  await call.follow(parseTwiml(await answer.text()));
  return call;
}

/** A stream without a webhook before it, as for a call that was dialled out with the TwiML of one's own. */
export async function stream(
  url: string,
  parameters: Record<string, string>,
  options: CallOptions = {},
): Promise<CarrierCall> {
  const call = new CarrierCall(options);
  await call.open(url, parameters);
  return call;
}

export class CarrierCall {
  readonly callSid: string;
  readonly accountSid = sid("AC");
  /** What was sent to the carrier against the protocol. Tests expect []. */
  readonly violations: string[] = [];
  readonly playout = new Playout((name) => this.#send({ event: "mark", mark: { name } }));
  /** The instructions that were answered last. */
  answered: Answered | null = null;
  closed: { code: number; reason: string } | null = null;
  /** Resolves when the stream has ended. */
  ended: Promise<void> = Promise.resolve();
  readonly #options: CallOptions;
  readonly #random: () => number;
  #socket: WebSocket | null = null;
  #streamSid = "";
  #sequence = 0;
  #chunk = 0;
  #sentBytes = 0;
  #startedMs = 0;
  #speech: Uint8Array = new Uint8Array(0);
  #timer: NodeJS.Timeout | undefined;
  readonly #late = new Set<NodeJS.Timeout>();
  #quiet = false;

  constructor(options: CallOptions) {
    this.#options = options;
    this.callSid = options.callSid ?? sid("CA");
    this.#random = seeded(options.seed ?? 1);
  }

  get streamSid(): string {
    return this.#streamSid;
  }

  /** Does what TwiML says, as far as the first stream. */
  async follow(answered: Answered): Promise<void> {
    this.answered = answered;
    if (answered.stream !== null) await this.open(answered.stream.url, answered.stream.parameters);
  }

  /** The socket alone, over which nothing has been said. */
  async connect(url: string): Promise<void> {
    const signature = twilio.getExpectedTwilioSignature(this.#options.authToken ?? AUTH_TOKEN, url, {});
    const socket = new WebSocket(url, { headers: { "x-twilio-signature": signature }, perMessageDeflate: false });
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    this.#socket = socket;
    this.closed = null;
    this.#streamSid = sid("MZ");
    this.#sequence = 0;
    this.#chunk = 0;
    this.#sentBytes = 0;
    socket.on("error", () => {});
    socket.on("message", (data, binary) => this.#message(String(data), binary));
    this.ended = new Promise((resolve) =>
      socket.once("close", (code, reason) => {
        this.closed = { code, reason: String(reason) };
        this.#stop();
        resolve();
      }),
    );
  }

  async open(url: string, parameters: Record<string, string>): Promise<void> {
    await this.connect(url);
    this.raw({ event: "connected", protocol: "Call", version: "1.0.0" });
    const { callSid, accountSid } = this;
    const mediaFormat = { encoding: "audio/x-mulaw", sampleRate: 8_000, channels: 1 };
    const start = { accountSid, callSid, streamSid: this.#streamSid, tracks: ["inbound"], mediaFormat };
    this.#send({ event: "start", start: { ...start, customParameters: parameters } });
    this.#startedMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), 5);
  }

  /** Speaks into the telephone: 16 kHz, after what is still to be spoken. */
  async say(samples16k: Int16Array): Promise<void> {
    this.sayMulaw(encodeMulaw(await resample(samples16k, { inRateHz: 16_000, outRateHz: 8_000 })));
  }

  sayMulaw(bytes: Uint8Array): void {
    this.#speech = Buffer.concat([this.#speech, bytes]);
  }

  speaking(): boolean {
    return this.#speech.length > 0;
  }

  press(digits: string): void {
    for (const digit of digits) this.#send({ event: "dtmf", dtmf: { track: "inbound_track", digit } });
  }

  /** The line goes dead: no packets, the socket stays. */
  silence(on: boolean): void {
    this.#quiet = on;
  }

  /** The caller hangs up: `stop`, then the carrier closes the stream. */
  async hangUp(): Promise<void> {
    this.stopMessage();
    this.#socket?.close(1000);
    await this.ended;
  }

  stopMessage(): void {
    this.#send({ event: "stop", stop: { accountSid: this.accountSid, callSid: this.callSid } });
  }

  /** The stream is cut without a word; the carrier goes on with what the TwiML says next. */
  cut(): void {
    this.#socket?.terminate();
  }

  /** After the stream: asks where the TwiML redirects to. */
  async next(): Promise<Answered> {
    const answer = await post(this.answered?.redirect ?? "", { CallSid: this.callSid, CallStatus: "in-progress" });
    const answered = parseTwiml(await answer.text());
    await this.follow(answered);
    return answered;
  }

  /** Anything at all, as it is. */
  raw(message: unknown): void {
    this.#socket?.send(
      typeof message === "string" || message instanceof Uint8Array ? message : JSON.stringify(message),
    );
  }

  /** A message of this stream, numbered. */
  #send(message: Record<string, unknown>): void {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#sequence += 1;
    this.raw({ ...message, sequenceNumber: String(this.#sequence), streamSid: this.#streamSid });
  }

  mediaMessage(payload: Uint8Array, timestampMs: number): Record<string, unknown> {
    this.#chunk += 1;
    const encoded = Buffer.from(payload).toString("base64");
    const media = { track: "inbound", chunk: String(this.#chunk), timestamp: String(timestampMs), payload: encoded };
    return { event: "media", media };
  }

  sendMedia(payload: Uint8Array, timestampMs = 0): void {
    this.#send(this.mediaMessage(payload, timestampMs));
  }

  #tick(): void {
    this.playout.advance();
    const { chunkBytes, loss = 0, jitterMs = 0 } = this.#options;
    const dueBytes = (performance.now() - this.#startedMs) * 8;
    for (;;) {
      const size = chunkBytes?.[this.#chunk % chunkBytes.length] ?? FRAME_BYTES;
      if (this.#sentBytes + size > dueBytes) return;
      const payload = this.#take(size);
      const message = this.mediaMessage(payload, Math.round(this.#sentBytes / 8));
      this.#sentBytes += size;
      if (this.#quiet || this.#random() < loss) continue;
      if (jitterMs === 0) this.#send(message);
      else this.#sendLate(message, this.#random() * jitterMs);
    }
  }

  #sendLate(message: Record<string, unknown>, ms: number): void {
    const timer = setTimeout(() => {
      this.#late.delete(timer);
      this.#send(message);
    }, ms);
    this.#late.add(timer);
  }

  #take(size: number): Uint8Array {
    const payload = new Uint8Array(size).fill(SILENCE);
    payload.set(this.#speech.subarray(0, size));
    this.#speech = this.#speech.subarray(size);
    return payload;
  }

  #message(text: string, binary: boolean): void {
    const wrong = (what: string): void => {
      if (this.violations.length < 100) this.violations.push(what);
    };
    if (binary) return wrong("a binary message");
    const message = objectOf(text);
    if (message === null) return wrong("no JSON object");
    const { event, streamSid, ...rest } = message;
    if (streamSid !== this.#streamSid) wrong(`${String(event)}: streamSid is not of this stream`);
    const body = typeof event === "string" ? rest[event] : undefined;
    const others = Object.keys(rest).filter((name) => name !== event);
    if (others.length > 0) wrong(`${String(event)}: unknown field ${others[0]}`);
    if (event === "clear") return void this.playout.clear();
    if (event === "mark") {
      const name = (body as { name?: unknown })?.name;
      return typeof name === "string" && name !== "" ? this.playout.mark(name) : wrong("mark: no name");
    }
    if (event !== "media") return wrong(`an event of no kind: ${String(event)}`);
    const payload = (body as { payload?: unknown })?.payload;
    if (typeof payload !== "string" || payload === "" || !/^[A-Za-z0-9+/]+={0,2}$/.test(payload)) {
      return wrong("media: payload is no base64");
    }
    const bytes = Buffer.from(payload, "base64");
    if (bytes.subarray(0, 4).toString("latin1") === "RIFF") wrong("media: payload has a file's header");
    this.playout.media(bytes);
  }

  #stop(): void {
    clearInterval(this.#timer);
    for (const timer of this.#late) clearTimeout(timer);
    this.#late.clear();
  }
}

function objectOf(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

/** mulberry32. */
function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
