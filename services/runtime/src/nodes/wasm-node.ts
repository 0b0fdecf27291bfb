/**
 * A WebAssembly module as a node (F-124), interface `rspp_node/1`. It runs in a worker of its own, without files, network or
 * clock; its memory has a maximum, and a loop ends with the worker at the event's deadline.
 *
 * The module imports `env.memory` and any of these functions of `rspp` (ports are numbers in the order declared):
 * `emit_text(port, ptr, len)`, `emit_audio(port, ptr, len)`, `emit_metric(name_ptr, name_len, value: f64)`,
 * `attribute(which) -> f64`, `cancelled() -> i32`, `random() -> f64`, `log(level, ptr, len)`.
 * It exports `alloc(len) -> ptr`, asked for room for each event, and `on_event(port, kind, ptr, len) -> i32`, 0 when all is
 * well; and, if it likes, `init(ptr, len) -> i32` (settings and variables as JSON), `on_barge_in()` and `stop()`.
 * Kinds: 1 text (UTF-8), 2 audio (bytes as they are), 3 activity, 4 messages (JSON), 5 end of the stream.
 */
import type { NodeBody, NodeContext, NodeDescriptor, NodeEvent, NodeLogic, NodeModule } from "@rspp/node-sdk/node-api";

export const WASM_IMPORTS: readonly string[] = [
  "emit_text",
  "emit_audio",
  "emit_metric",
  "attribute",
  "cancelled",
  "random",
  "log",
];
export const WASM_EXPORTS: readonly string[] = ["alloc", "on_event"];

const KINDS = { text: 1, audio: 2, activity: 3, messages: 4, end: 5, metrics: 0 } as const;
const LEVELS = ["debug", "info", "warn", "error"] as const;
const PAGE_BYTES = 65_536;
const NAME_BYTES_MAX = 64;
const LOG_BYTES_MAX = 4_096;

interface Exports {
  alloc(length: number): number;
  on_event(port: number, kind: number, at: number, length: number): number;
  init?(at: number, length: number): number;
  on_barge_in?(): void;
  stop?(): void;
}

/** @param initialPages what the module asks for; `maximumPages` its own ceiling, null for none. */
export interface WasmCode {
  readonly module: WebAssembly.Module;
  readonly initialPages: number;
  readonly maximumPages: number | null;
}

export function wasmNode(descriptor: NodeDescriptor, code: WasmCode, memoryMb: number): NodeModule {
  return { ...descriptor, create: (context) => new WasmLogic(descriptor, code, memoryMb, context) };
}

class WasmLogic implements NodeLogic {
  readonly #descriptor: NodeDescriptor;
  readonly #context: NodeContext;
  readonly #memory: WebAssembly.Memory;
  readonly #exports: Exports;
  /** The event being handled: the module runs only while there is one. */
  #event: NodeEvent | null = null;
  /** After a trap nothing in its memory can be trusted. */
  #trapped = false;

  constructor(descriptor: NodeDescriptor, code: WasmCode, memoryMb: number, context: NodeContext) {
    this.#descriptor = descriptor;
    this.#context = context;
    const most = Math.floor((memoryMb * 2 ** 20) / PAGE_BYTES);
    if (code.initialPages > most)
      throw new Error(`asks for ${code.initialPages} pages at first, and memory_mb: ${memoryMb} allows ${most}`);
    const maximum = Math.min(most, code.maximumPages ?? most);
    this.#memory = new WebAssembly.Memory({ initial: code.initialPages, maximum });
    const instance = new WebAssembly.Instance(code.module, { env: { memory: this.#memory }, rspp: this.#imports() });
    this.#exports = instance.exports as unknown as Exports;
  }

  init(): void {
    const { settings, variables } = this.#context;
    if (this.#exports.init === undefined) return;
    const [at, length] = this.#put(new TextEncoder().encode(JSON.stringify({ settings, variables })));
    const code = this.#exports.init(at, length);
    if (code !== 0) throw new Error(`init answered ${code}`);
  }

  onEvent(event: NodeEvent): void {
    if (this.#trapped) throw new Error("it trapped before");
    const port = this.#descriptor.inputs.findIndex(({ name }) => name === event.port);
    this.#event = event;
    try {
      const [at, length] = this.#put(bytesOf(event.body));
      const code = this.#exports.on_event(port, KINDS[event.body.type], at, length);
      if (event.cancel.cancelled) event.cancel.check();
      if (code !== 0) throw new Error(`on_event answered ${code}`);
    } catch (failure) {
      this.#trapped ||= failure instanceof WebAssembly.RuntimeError;
      throw failure;
    } finally {
      this.#event = null;
    }
  }

  onBargeIn(): void {
    if (!this.#trapped) this.#exports.on_barge_in?.();
  }

  stop(): void {
    if (!this.#trapped) this.#exports.stop?.();
  }

  /** A copy in the module's memory, in the room it gave. */
  #put(bytes: Uint8Array): [at: number, length: number] {
    if (bytes.length === 0) return [0, 0];
    const at = this.#exports.alloc(bytes.length) >>> 0;
    this.#view(at, bytes.length).set(bytes);
    return [at, bytes.length];
  }

  /** @throws RangeError where it lies outside of the module's memory. */
  #view(at: number, length: number): Uint8Array {
    const from = at >>> 0;
    const count = length >>> 0;
    if (from + count > this.#memory.buffer.byteLength) throw new RangeError("points outside of its memory");
    return new Uint8Array(this.#memory.buffer, from, count);
  }

  #text(at: number, length: number): string {
    return new TextDecoder().decode(this.#view(at, length));
  }

  #imports(): Record<string, (...given: number[]) => unknown> {
    const port = (index: number): string => this.#descriptor.outputs[index]?.name ?? `port ${index}`;
    return {
      emit_text: (to: number, at: number, length: number) => this.#emitText(port(to), this.#text(at, length)),
      emit_audio: (to: number, at: number, length: number) => this.#emitAudio(port(to), this.#view(at, length).slice()),
      emit_metric: (at: number, length: number, value: number) =>
        this.#context.metric(this.#text(at, Math.min(length >>> 0, NAME_BYTES_MAX)), value),
      attribute: (which: number) => attributeOf(this.#event, which),
      cancelled: () => (this.#event?.cancel.cancelled === true ? 1 : 0),
      random: () => this.#context.random(),
      log: (level: number, at: number, length: number) =>
        this.#context.log(LEVELS[level] ?? "info", this.#text(at, Math.min(length >>> 0, LOG_BYTES_MAX))),
    };
  }

  /** Of the segment and revision of the text it is made from, else a final of its own. */
  #emitText(port: string, text: string): void {
    const body = this.#event?.body;
    const like = body?.type === "text" ? body : { segment: 0, revision: 1, final: true, confidence: 1, language: "" };
    const { segment, revision, final, confidence, language } = like;
    this.#event?.emit(port, { type: "text", text, segment, revision, final, confidence, language });
  }

  /** In the form of the audio it is made from. @throws Error while no audio is handled. */
  #emitAudio(port: string, bytes: Uint8Array): void {
    const body = this.#event?.body;
    if (body?.type !== "audio") throw new Error("emit_audio is for events of audio: there is no form to go by");
    const durationUs =
      body.codec === "pcm_s16le" ? Math.round((bytes.length / 2 / body.channels / body.rateHz) * 1e6) : body.durationUs;
    this.#event?.emit(port, { ...body, bytes, durationUs });
  }
}

function bytesOf(body: NodeBody): Uint8Array {
  if (body.type === "audio") return body.bytes;
  if (body.type === "text") return new TextEncoder().encode(body.text);
  if (body.type === "messages") return new TextEncoder().encode(JSON.stringify(body.messages));
  return new Uint8Array(0);
}

/** In this order; 0 where it means nothing for the event. */
function attributeOf(event: NodeEvent | null, which: number): number {
  if (event === null) return 0;
  const { body, atNs } = event;
  const all = [atNs, event.budgetLeftMs()];
  if (body.type === "text") all.push(body.segment, body.revision, Number(body.final), body.confidence);
  if (body.type === "audio") all.push(body.rateHz, body.channels, body.durationUs, body.mediaUs);
  if (body.type === "activity") all.push(Number(body.speech), body.probability, body.durationUs, body.mediaUs);
  return all[which] ?? 0;
}
