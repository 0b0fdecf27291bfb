/** A caller of the fleet over the public client: talks when told to, keeps an account of everything that was heard. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import type { Client } from "@rspp/client/client";
import { connect } from "@rspp/client/connect";
import { decodeFrame } from "@rspp/client/frames";
import type { OutputFrame } from "@rspp/client/types";

const frameSamples = 320;
const speechFrames = 30;
const question = join(import.meta.dirname, "../../cli/assets/question-1.wav");
let voice: Promise<Int16Array> | null = null;

async function voiced(): Promise<Int16Array> {
  voice ??= wavTo16kMono(parseWav(readFileSync(question)));
  const samples = await voice;
  const from = samples.findIndex((sample) => Math.abs(sample) > 2_000);
  return samples.subarray(from, from + speechFrames * frameSamples);
}

/** What the adapter let through, by the epoch it was made under. */
export class EpochsHeard {
  newest = 0;
  frames = 0;
  /** Of an epoch below one that was heard before. */
  stale = 0;

  /** A socket that reads along. */
  tapped(): typeof WebSocket {
    const read = (data: unknown): void => this.#read(data);
    return class extends WebSocket {
      constructor(...dial: ConstructorParameters<typeof WebSocket>) {
        super(...dial);
        this.addEventListener("message", ({ data }) => read(data));
      }
    };
  }

  #read(data: unknown): void {
    const frame = decodeFrame(data, "binary");
    if (frame?.message.case !== "event") return;
    const epoch = Number(frame.message.value.event?.authorityEpoch ?? 0n);
    this.frames += 1;
    if (epoch < this.newest) this.stale += 1;
    this.newest = Math.max(this.newest, epoch);
  }
}

export class Caller {
  readonly #client: Client;
  readonly #speech: Int16Array;
  readonly #microphone: NodeJS.Timeout;
  #saying = -1;
  #said: (() => void) | null = null;
  /** Frames heard, by turn: their sequences in the order in which they were heard. */
  readonly heard = new Map<number, number[]>();
  /** Signals, as `name/turn`. */
  readonly signals: string[] = [];
  readonly texts: { turn: number; text: string }[] = [];
  lastTurn = 0;
  lastFrameMs = 0;
  /** When the first frame of a turn was heard. */
  readonly firstMs = new Map<number, number>();
  endedBy: string | null = null;
  readonly epochs: EpochsHeard;

  static async dial(url: string, token: string): Promise<Caller> {
    const frames: ((frame: OutputFrame) => void)[] = [];
    const early: OutputFrame[] = [];
    const onAudio = (frame: OutputFrame): void => void (frames[0]?.(frame) ?? early.push(frame));
    const epochs = new EpochsHeard();
    const client = await connect(url, token, { onAudio, WebSocket: epochs.tapped() });
    const caller = new Caller(client, await voiced(), epochs);
    frames.push((frame) => caller.#hear(frame));
    for (const frame of early) caller.#hear(frame);
    return caller;
  }

  constructor(client: Client, speech: Int16Array, epochs: EpochsHeard) {
    this.epochs = epochs;
    this.#client = client;
    this.#speech = speech;
    client.on("control", ({ signal, turn }) => this.signals.push(`${signal}/${turn}`));
    client.on("turn", ({ phase, turn }) => {
      if (phase === "open") this.lastTurn = Math.max(this.lastTurn, turn);
    });
    client.on("text", ({ turn, role, text }) => {
      if (role === "assistant") this.texts.push({ turn, text });
    });
    void client.ended.then((reason) => {
      this.endedBy = reason;
      clearInterval(this.#microphone);
    });
    const silence = new Int16Array(frameSamples);
    let sent = 0;
    const began = performance.now();
    this.#microphone = setInterval(() => {
      for (; sent < (performance.now() - began) / 20; sent++) this.#frame(silence);
    }, 20);
  }

  get session(): string {
    return this.#client.session;
  }

  get open(): boolean {
    return this.endedBy === null;
  }

  /** Says something and lets go of the button. */
  speak(): Promise<void> {
    this.#saying = 0;
    return new Promise((resolve) => {
      this.#said = resolve;
    });
  }

  /** Whether all of a turn was heard. */
  heardToEnd(turn: number): boolean {
    return this.signals.includes(`playback_completed/${turn}`) || this.ends.has(turn);
  }

  readonly ends = new Set<number>();

  hangUp(): void {
    clearInterval(this.#microphone);
    if (this.endedBy === null) this.#client.end();
  }

  #frame(silence: Int16Array): void {
    if (this.endedBy !== null) return;
    const at = this.#saying * frameSamples;
    const speaks = this.#saying >= 0 && at < this.#speech.length;
    this.#client.sendAudio(speaks ? this.#speech.slice(at, at + frameSamples) : silence);
    if (!speaks) return;
    this.#saying += 1;
    if (this.#saying * frameSamples < this.#speech.length) return;
    this.#saying = -1;
    this.#client.endOfUtterance();
    this.#said?.();
  }

  #hear({ turn, sequence, end, data }: OutputFrame): void {
    this.lastFrameMs = performance.now();
    this.heard.set(turn, [...(this.heard.get(turn) ?? []), sequence]);
    if (!this.firstMs.has(turn) && data.length > 0) this.firstMs.set(turn, this.lastFrameMs);
    if (end) this.ends.add(turn);
  }
}
