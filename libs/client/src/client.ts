/** One session with RSPP over its connections: audio both ways, events, barge-in, resume (F-084, F-091). */
import { CancelScope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { DeliveryState } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import type {
  ClientFrame,
  ClientPlayed,
  ServerClosed,
  ServerFlush,
  ServerFrame,
  ServerOpened,
  ServerPong,
} from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { controlOf, type SignalFields } from "./control.ts";
import { ClientError } from "./errors.ts";
import {
  decodeFrame,
  type Encoding,
  encodeFrame,
  errorOf,
  formatToWire,
  outputOf,
  reasonName,
  signalName,
  subprotocolOf,
  textOf,
} from "./frames.ts";
import { globalHost, globalSocket } from "./host.ts";
import { Outbox } from "./outbox.ts";
import { createPacedPlayer } from "./paced-player.ts";
import { SeenTurn } from "./seen-turn.ts";
import type {
  AudioFormat,
  ClientEvents,
  ClientHost,
  ClientOptions,
  OutputFrame,
  Played,
  Player,
  SocketConstructor,
  SocketLike,
} from "./types.ts";

type Message = ClientFrame["message"];
type Listener<K extends keyof ClientEvents> = (event: ClientEvents[K]) => void;

const VERSION = 1;
const PCM: AudioFormat = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 };
/** Bytes that may wait in the socket; beyond it the connection counts as cut, and what was said is kept. */
const SOCKET_BYTES_MAX = 4_194_304;
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 2_000;
const REPORTS_MAX = 256;
/** Why a client that comes back is not taken just now. */
const PASSING = ["draining", "capacity_exhausted", "dependency_unavailable", "rate_limited", "deadline_exceeded"];
/** Close codes after which coming back is of no use. */
const FINAL_CODES: readonly number[] = [1000, 4400, 4401, 4403, 4404, 4409, 4410];

export class Client {
  readonly #url: string;
  readonly #token: string;
  readonly #options: ClientOptions;
  readonly #host: ClientHost;
  readonly #socketClass: SocketConstructor;
  readonly #encoding: Encoding;
  readonly #input: AudioFormat;
  readonly #player: Player;
  readonly #outbox = new Outbox();
  readonly #seen = new SeenTurn();
  readonly #listeners = new Map<keyof ClientEvents, Set<(event: never) => void>>();
  #state: "new" | "open" | "reconnecting" | "closed" = "new";
  #socket: SocketLike | null = null;
  #opened: ServerOpened | null = null;
  #lastServer = 0;
  #lastHeardMs = 0;
  #cutAtMs = 0;
  #attempt = 0;
  #timer: unknown = null;
  #pingTimer: unknown = null;
  #reports: ClientPlayed[] = [];
  #settle: { resolve: () => void; reject: (error: ClientError) => void } | null = null;
  #ended: Promise<string>;
  #tellEnded: (reason: string) => void = () => {};
  /** Frames of the server that came twice over a resume and were left out. */
  duplicates = 0;
  /** How often the session was taken up again. */
  resumes = 0;

  constructor(url: string, token: string, options: ClientOptions) {
    this.#url = url;
    this.#token = token;
    this.#options = options;
    this.#host = options.host ?? globalHost();
    this.#socketClass = options.WebSocket ?? globalSocket();
    this.#encoding = options.encoding ?? "binary";
    this.#input = options.inputFormat ?? PCM;
    const { player } = options;
    const made = typeof player === "function" ? player((played) => this.played(played)) : player;
    this.#player = made ?? this.#ownPlayer(options.onAudio ?? (() => {}));
    this.#ended = new Promise((resolve) => {
      this.#tellEnded = resolve;
    });
  }

  /** The session's id; "" before it is open. */
  get session(): string {
    return this.#opened?.session?.sessionId ?? "";
  }

  get state(): "new" | "open" | "reconnecting" | "closed" {
    return this.#state;
  }

  /** Settles with the reason when the session is over; never rejects. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** Called by `connect`. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      const timeoutMs = this.#options.openTimeoutMs ?? 10_000;
      this.#timer = this.#host.setTimer(() => {
        this.#fail(new ClientError("timeout", `no session within ${timeoutMs} ms`, "Check the URL, or try again"));
      }, timeoutMs);
      this.#dial();
    });
  }

  /** Tells `listener` of every event of a kind until the returned function is called. */
  on<K extends keyof ClientEvents>(kind: K, listener: Listener<K>): () => void {
    const known = this.#listeners.get(kind) ?? new Set();
    known.add(listener);
    this.#listeners.set(kind, known);
    return () => void known.delete(listener);
  }

  /**
   * Sends what was spoken: samples for pcm_s16le, else whole packets of the input format. Kept over a cut for 30 s.
   * `durationUs` is needed for Opus alone; default 20 ms.
   *
   * @throws ClientError `usage` when samples are given for another codec, or the session is not open.
   */
  sendAudio(audio: Int16Array | Uint8Array, durationUs?: number): void {
    this.#mustLive();
    const { codec, rateHz, channels } = this.#input;
    if (audio instanceof Int16Array && codec !== "pcm_s16le") {
      throw new ClientError("usage", `samples were given where the input is ${codec}`, "Send encoded bytes");
    }
    const data = new Uint8Array(new Uint8Array(audio.buffer, audio.byteOffset, audio.byteLength));
    const samples = data.byteLength / (codec === "pcm_s16le" ? 2 : 1) / channels;
    const lengthUs = durationUs ?? (codec === "opus" ? 20_000 : Math.round((samples / rateHz) * 1e6));
    const sequence = BigInt(this.#outbox.next("audio"));
    const value = { $typeName: "rspp.transport.v1.ClientAudio" as const, sequence, data, durationUs: lengthUs };
    const message: Message = { case: "audio", value };
    this.#outbox.keep("audio", message, data.byteLength + 64, this.#host.nowMs());
    this.#send(message);
  }

  /** Push to talk released: what was said so far is a whole utterance. */
  endOfUtterance(): void {
    this.#signal(ControlSignal.END_OF_UTTERANCE, { lastMediaSequence: BigInt(this.#outbox.lastAudio()) });
  }

  mute(): void {
    this.#signal(ControlSignal.MUTE, { lastMediaSequence: BigInt(this.#outbox.lastAudio()) });
  }

  unmute(): void {
    this.#signal(ControlSignal.UNMUTE, { lastMediaSequence: BigInt(this.#outbox.lastAudio()) });
  }

  /** The stop button: the agent's turn is cut. */
  stop(): void {
    this.#signal(ControlSignal.STOP, { cancelScope: CancelScope.SESSION, reason: Reason.USER_CANCEL });
  }

  dtmf(digits: string): void {
    this.#signal(ControlSignal.DTMF, { transportFields: { "dtmf.digits": digits } });
  }

  /** A signal of the application's own; names are namespaced, e.g. `acme.page`. */
  transportSignal(fields: Readonly<Record<string, string>>): void {
    this.#signal(ControlSignal.TRANSPORT_SIGNAL, { transportFields: { ...fields } });
  }

  /** Hangs up. `ended` settles when the server has said so, or at once where it cannot be reached. */
  end(): void {
    if (this.#state === "closed") return;
    if (this.#state !== "open") return this.#over("caller_hangup");
    this.#signal(ControlSignal.ENDED, { reason: Reason.CALLER_HANGUP });
  }

  /** What a player of one's own has played. */
  played(report: Played): void {
    const states = { playing: DeliveryState.PLAYING, completed: DeliveryState.COMPLETED, lost: DeliveryState.LOST };
    this.#report({
      $typeName: "rspp.transport.v1.ClientPlayed",
      turnNumber: report.turn,
      fenceGeneration: report.generation,
      state: states[report.state],
      playedUs: BigInt(report.playedUs),
      flushedFrames: 0,
      flushSequence: 0n,
    });
  }

  /** Drops the connection without a word, as a bad network would; the session is resumed. For tests. */
  cut(): void {
    this.#lost(1006, "cut");
  }

  #ownPlayer(onFrame: (frame: OutputFrame) => void): Player {
    return createPacedPlayer({ host: this.#host, onFrame, onPlayed: (played) => this.played(played) });
  }

  #mustLive(): void {
    if (this.#state === "open" || this.#state === "reconnecting") return;
    throw new ClientError("usage", "the session is not open", "Call connect, and stop sending once it has ended");
  }

  #signal(signal: ControlSignal, fields: SignalFields): void {
    this.#mustLive();
    const control = controlOf(signal, fields);
    const sequence = BigInt(this.#outbox.next("signal"));
    const value = { $typeName: "rspp.transport.v1.ClientSignal" as const, sequence, control };
    const message: Message = { case: "signal", value };
    this.#outbox.keep("signal", message, 256, this.#host.nowMs());
    this.#send(message);
  }

  #report(value: ClientPlayed): void {
    this.#seen.played(value);
    if (this.#state === "open") return this.#send({ case: "played", value });
    if (this.#state !== "reconnecting" || this.#reports.length >= REPORTS_MAX) return;
    this.#reports.push(value);
  }

  #send(message: Message): void {
    const socket = this.#socket;
    if (this.#state !== "open" || socket === null) return;
    if (socket.bufferedAmount > SOCKET_BYTES_MAX) return this.#lost(1006, "send buffer full");
    socket.send(encodeFrame(message, this.#encoding));
    const { control } = message.case === "signal" ? message.value : {};
    this.#seen.sent(message, control === undefined ? "" : signalName(control.signal));
  }

  // --- connections ---

  #dial(): void {
    let socket: SocketLike;
    try {
      socket = new this.#socketClass(this.#url, [subprotocolOf[this.#encoding]]) as SocketLike;
    } catch {
      return this.#fail(new ClientError("usage", `${this.#url} is no WebSocket address`, "Use ws:// or wss://"));
    }
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (socket === this.#socket) socket.send(encodeFrame(this.#openMessage(), this.#encoding));
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#message(data);
    };
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#lost(code, reason);
    };
  }

  #openMessage(): Message {
    const resumeKey = this.#opened?.resumeKey;
    const resume = {
      $typeName: "rspp.transport.v1.ResumePoint" as const,
      resumeKey: resumeKey ?? "",
      lastServerSequence: BigInt(this.#lastServer),
      sentAudioSequence: BigInt(this.#outbox.lastAudio()),
      sentSignalSequence: BigInt(this.#outbox.lastSignal()),
      seen: this.#seen.toWire(),
    };
    const value = {
      $typeName: "rspp.transport.v1.ClientOpen" as const,
      protocolVersion: VERSION,
      token: this.#token,
      inputFormat: formatToWire(this.#input),
      outputFormat: formatToWire(this.#options.outputFormat ?? PCM),
      wantDebug: this.#options.wantDebug ?? false,
      wantMetrics: this.#options.wantMetrics ?? false,
      client: "rspp-client/0.1.0",
      ...(resumeKey === undefined ? {} : { resume }),
    };
    return { case: "open", value };
  }

  /** The connection is gone: back to the session while it waits, else over. */
  #lost(code: number, reason: string): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#stopTimers();
    socket?.close();
    if (this.#state === "closed") return;
    if (this.#state === "new") {
      const hint = code === 1006 ? "Check the address, and that the server is up" : "See the reason";
      return this.#fail(new ClientError("unreachable", `no connection (${code} ${reason})`.trim(), hint));
    }
    if (FINAL_CODES.includes(code) || this.#options.resume === false)
      return this.#over(reason || `closed with ${code}`);
    if (this.#state === "open") {
      this.#state = "reconnecting";
      this.#cutAtMs = this.#host.nowMs();
      this.#attempt = 0;
      this.#emit("state", { state: "reconnecting", reason: reason || `closed with ${code}` });
    }
    this.#again();
  }

  /** Doubling waits, spread over clients, within the time the session is kept. */
  #again(): void {
    const leftMs = (this.#opened?.resumeWithinMs ?? 0) - (this.#host.nowMs() - this.#cutAtMs);
    if (leftMs <= 0) return this.#over("the session could not be taken up again in time");
    const fullMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** this.#attempt);
    this.#attempt += 1;
    const waitMs = Math.min(leftMs, fullMs / 2 + (this.#host.random() * fullMs) / 2);
    this.#timer = this.#host.setTimer(() => this.#dial(), waitMs);
  }

  #stopTimers(): void {
    for (const timer of [this.#timer, this.#pingTimer]) if (timer !== null) this.#host.clearTimer(timer);
    this.#timer = null;
    this.#pingTimer = null;
  }

  #ping(): void {
    const pingMs = this.#options.pingMs ?? 5_000;
    this.#pingTimer = this.#host.setTimer(() => {
      if (this.#host.nowMs() - this.#lastHeardMs > 3 * pingMs) return this.#lost(1006, "no answer to pings");
      const lastServerSequence = BigInt(this.#lastServer);
      const value = { $typeName: "rspp.transport.v1.ClientPing" as const, nonce: 0n, lastServerSequence };
      this.#send({ case: "ping", value });
      if (this.#state === "open") this.#ping();
    }, pingMs);
  }

  #fail(error: ClientError): void {
    const { reject } = this.#settle ?? {};
    this.#settle = null;
    this.#over(error.message);
    reject?.(error);
  }

  #over(reason: string): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#stopTimers();
    this.#outbox.clear();
    this.#reports = [];
    this.#player.close();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#emit("state", { state: "closed", reason });
    this.#tellEnded(reason);
  }

  // --- frames ---

  #message(data: unknown): void {
    const frame = decodeFrame(data, this.#encoding);
    if (frame === null) return this.#lost(1002, "a frame that is none of this protocol");
    this.#lastHeardMs = this.#host.nowMs();
    const sequence = Number(frame.sequence);
    if (sequence > 0) {
      if (sequence <= this.#lastServer) {
        this.duplicates += 1;
        return;
      }
      this.#lastServer = sequence;
    }
    this.#frame(frame);
  }

  #frame({ message, sequence }: ServerFrame): void {
    switch (message.case) {
      case "opened":
        return this.#begun(message.value);
      case "event":
        return message.value.event === undefined ? undefined : this.#event(message.value.event);
      case "flush":
        return this.#flush(message.value, sequence);
      case "closed":
        return this.#closed(message.value);
      case "pong":
        return this.#pong(message.value);
      default:
        return;
    }
  }

  #begun(opened: ServerOpened): void {
    this.#stopTimers();
    this.#opened = opened;
    this.#seen.connected();
    this.#state = "open";
    this.#ping();
    if (opened.resumed) {
      this.resumes += 1;
      const missing = this.#outbox.after(Number(opened.resumeAudioAfter), Number(opened.resumeSignalsAfter));
      for (const message of missing) this.#send(message);
      for (const value of this.#reports.splice(0)) this.#send({ case: "played", value });
    }
    this.#emit("state", { state: "open", reason: opened.resumed ? "resumed" : "" });
    this.#settle?.resolve();
    this.#settle = null;
  }

  #pong({ audioSequence, signalSequence, last }: ServerPong): void {
    this.#outbox.confirmed(Number(audioSequence), Number(signalSequence));
    if (last) this.#seen.left(audioSequence, signalSequence);
  }

  #flush(flush: ServerFlush, sequence: bigint): void {
    const { turnNumber: turn, fenceGeneration: generation, allEarlierTurns: allEarlier } = flush;
    const cut = { turn, generation, allEarlier, reason: reasonName(flush.reason) };
    const { playedUs, flushedFrames } = this.#player.flush(cut);
    this.#report({
      $typeName: "rspp.transport.v1.ClientPlayed",
      turnNumber: turn,
      fenceGeneration: generation,
      state: DeliveryState.CANCELLED,
      playedUs: BigInt(playedUs),
      flushedFrames,
      flushSequence: sequence,
    });
    this.#emit("flush", cut);
  }

  #closed(closed: ServerClosed): void {
    if (closed.error === undefined) return this.#over(reasonName(closed.reason));
    const error = errorOf(closed.error);
    const fields = error.fields.map((f) => `${f.field}: ${f.message}`).join("; ");
    const said = `the server refused: ${error.reason}${fields === "" ? "" : ` (${fields})`}`;
    if (this.#settle !== null) return this.#fail(new ClientError("refused", said, error.remedy, error.reason));
    this.#emit("error", error);
    if (this.#state === "reconnecting" && PASSING.includes(error.reason)) return;
    this.#over(error.reason);
  }

  #event(event: Envelope): void {
    const output = outputOf(event);
    if (output !== null) {
      this.#seen.output(output);
      return this.#player.play(output);
    }
    const text = textOf(event);
    if (text !== null) return this.#emit("text", text);
    const { payload, turnNumber: turn } = event;
    switch (payload.case) {
      case "control": {
        const signal = signalName(payload.value.signal);
        const reason = payload.value.reason === undefined ? "" : reasonName(payload.value.reason);
        return this.#control(signal, turn, reason);
      }
      case "metrics": {
        const samples = payload.value.samples.map(({ name, value, nodeId }) => ({ name, value, node: nodeId }));
        return this.#emit("metrics", { turn, samples });
      }
      case "debug": {
        const { topic, message, fields } = payload.value;
        return this.#emit("debug", { topic, message, fields });
      }
      case "error":
        return this.#emit("error", errorOf(payload.value.detail));
      default:
        return;
    }
  }

  #control(signal: string, turn: number, reason: string): void {
    this.#seen.control(signal, turn);
    if (signal === "output_hold") this.#player.hold(turn);
    if (signal === "output_resume") this.#player.resume();
    if (signal === "turn_open") this.#emit("turn", { turn, phase: "open", reason });
    else if (signal === "commit" || signal === "abort" || signal === "close") {
      this.#emit("turn", { turn, phase: signal, reason });
    }
    this.#emit("control", { signal, turn, reason });
  }

  #emit<K extends keyof ClientEvents>(kind: K, event: ClientEvents[K]): void {
    for (const listener of this.#listeners.get(kind) ?? []) (listener as Listener<K>)(event);
  }
}
