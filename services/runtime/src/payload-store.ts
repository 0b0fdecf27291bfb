import type { PayloadHandle, TextSpan } from "@rspp/kernel/event";
import { CallerFrames } from "./caller-frames.ts";
import { limits } from "./limits.ts";

/** Payloads of a turn's invocations carry that turn's number, which is positive. */
export const TAG_SESSION = 0;

interface Entry {
  bytes: Uint8Array | null;
  text: string | null;
  size: number;
  tag: number;
}

export interface PayloadStats {
  items: number;
  bytes: number;
  inputItems: number;
  sessionItems: number;
  turnItems: number;
  bytesPeak: number;
  /** Times a payload was asked for that is not there. */
  missing: number;
}

export interface PayloadStore {
  /** Null, and nothing kept, when the session's bound is reached. The bytes are not copied: they now belong to the store. */
  putAudio(bytes: Uint8Array, tag: number): PayloadHandle | null;
  /** As {@link PayloadStore.putAudio} for a frame of the caller, but the bytes are copied. */
  putInputAudio(bytes: Uint8Array, endUs: number, stampNs: number): PayloadHandle | null;
  putText(text: string, tag: number): PayloadHandle | null;
  /** For refs that the kernel chose (negative) or the caller of `openSession` named (positive). */
  putTextAt(ref: number, text: string, tag: number): PayloadHandle | null;
  /** Of the caller's audio only until it is freed: its memory is then filled anew. */
  audio(ref: number): Uint8Array | null;
  /** Joined text of the spans; a missing payload counts as empty and is counted. */
  join(spans: readonly TextSpan[]): string;
  /** Stamp of a caller frame; 0 when unknown. */
  stampOf(ref: number): number;
  free(ref: number): void;
  /** As {@link PayloadStore.free}, but caller audio stays until {@link PayloadStore.trimInput} takes it. */
  freeSent(ref: number): void;
  /** Frees caller audio below `ref`: the kernel has said that it needs it no longer. */
  releaseInput(ref: number): void;
  /** The bound, whatever the kernel says: frees caller audio that ends more than 2 s of media before `newestUs`. */
  trimInput(newestUs: number): void;
  releaseTurn(turn: number, keep: readonly number[]): void;
  /** Frees what came for turns that were released before it came; call when the step that saw it is done. */
  freeLate(): void;
  clear(): void;
  stats(): PayloadStats;
}

export interface PayloadStoreOptions {
  /** Keyed hash of a payload; null at recording level L0, where handles carry "". */
  hash?: ((content: Uint8Array | string) => string) | null;
  /** Sees every payload as it is stored (recording level L2). */
  onPut?: ((ref: number, content: Uint8Array | string) => void) | null;
  bytesMax?: number;
  itemsMax?: number;
  /** Late payloads of released turns are kept for the session (late-event policy `remap`) instead of freed. */
  keepLate?: boolean;
}

/** The bytes and texts of one session, which the kernel knows by handle alone (`kernel.md` §1). */
export function createPayloadStore(options: PayloadStoreOptions = {}): PayloadStore {
  return new SessionPayloads(options);
}

class SessionPayloads implements PayloadStore {
  private readonly options: PayloadStoreOptions;
  private readonly bytesMax: number;
  private readonly itemsMax: number;
  private readonly entries = new Map<number, Entry>();
  private readonly turns = new Map<number, number[]>();
  private readonly released: number[] = [];
  private readonly caller = new CallerFrames();
  private late: number[] = [];
  private nextRef = 1;
  private bytes = 0;
  private bytesPeak = 0;
  private missing = 0;

  constructor(options: PayloadStoreOptions) {
    this.options = options;
    this.bytesMax = options.bytesMax ?? limits.PAYLOAD_BYTES_MAX;
    this.itemsMax = options.itemsMax ?? limits.PAYLOAD_ITEMS_MAX;
  }

  putAudio(content: Uint8Array, tag: number): PayloadHandle | null {
    return this.put(this.nextRef++, content, tag);
  }

  putInputAudio(content: Uint8Array, endUs: number, stampNs: number): PayloadHandle | null {
    const ref = this.nextRef++;
    const size = content.byteLength;
    if (!this.fits(size)) return null;
    this.caller.push(ref, content, endUs, stampNs);
    this.notePeak();
    return this.stored(ref, content, size);
  }

  putText(text: string, tag: number): PayloadHandle | null {
    return this.put(this.nextRef++, text, tag);
  }

  putTextAt(ref: number, text: string, tag: number): PayloadHandle | null {
    if (ref >= this.nextRef) this.nextRef = ref + 1;
    return this.put(ref, text, tag);
  }

  audio(ref: number): Uint8Array | null {
    const content = this.caller.audio(ref) ?? this.entries.get(ref)?.bytes;
    if (content) return content;
    this.missing += 1;
    return null;
  }

  join(spans: readonly TextSpan[]): string {
    const only = spans[0];
    if (spans.length === 1 && only !== undefined) return this.textOf(only.ref).slice(only.from, only.to);
    let joined = "";
    for (const span of spans) joined += this.textOf(span.ref).slice(span.from, span.to);
    return joined;
  }

  stampOf(ref: number): number {
    return this.caller.stampOf(ref);
  }

  free(ref: number): void {
    if (this.caller.free(ref)) return;
    const entry = this.entries.get(ref);
    if (entry === undefined) return;
    this.entries.delete(ref);
    this.bytes -= entry.size;
  }

  freeSent(ref: number): void {
    if (this.caller.audio(ref) === null) this.free(ref);
  }

  trimInput(newestUs: number): void {
    this.caller.freeEnded(newestUs - limits.CALLER_AUDIO_KEPT_US);
  }

  releaseInput(ref: number): void {
    this.caller.freeBelow(ref);
  }

  releaseTurn(turn: number, keep: readonly number[]): void {
    const refs = this.turns.get(turn) ?? [];
    this.turns.delete(turn);
    for (const ref of refs) {
      const entry = this.entries.get(ref);
      if (entry === undefined) continue;
      if (keep.includes(ref)) entry.tag = TAG_SESSION;
      else this.free(ref);
    }
    this.released.push(turn);
    if (this.released.length > limits.RELEASED_TURNS_MAX) this.released.shift();
  }

  freeLate(): void {
    if (this.late.length === 0) return;
    for (const ref of this.late) this.free(ref);
    this.late = [];
  }

  clear(): void {
    this.entries.clear();
    this.turns.clear();
    this.late = [];
    this.caller.clear();
    this.bytes = 0;
  }

  stats(): PayloadStats {
    const { bytesPeak, missing } = this;
    const inputItems = this.caller.items;
    const items = this.entries.size + inputItems;
    return {
      ...countByTag(this.entries),
      inputItems,
      items,
      bytes: this.bytes + this.caller.bytes,
      bytesPeak,
      missing,
    };
  }

  private fits(size: number): boolean {
    const { entries, caller } = this;
    return this.bytes + caller.bytes + size <= this.bytesMax && entries.size + caller.items < this.itemsMax;
  }

  private notePeak(): void {
    const bytes = this.bytes + this.caller.bytes;
    if (bytes > this.bytesPeak) this.bytesPeak = bytes;
  }

  private put(ref: number, content: Uint8Array | string, wanted: number): PayloadHandle | null {
    const isText = typeof content === "string";
    const size = isText ? content.length * 2 : content.byteLength;
    if (!this.fits(size)) return null;
    this.free(ref);
    const tag = this.tagged(ref, wanted);
    this.entries.set(ref, { bytes: isText ? null : content, text: isText ? content : null, size, tag });
    this.bytes += size;
    this.notePeak();
    return this.stored(ref, content, isText ? Buffer.byteLength(content) : size);
  }

  private stored(ref: number, content: Uint8Array | string, bytes: number): PayloadHandle {
    this.options.onPut?.(ref, content);
    return { ref, hash: this.options.hash ? this.options.hash(content) : "", bytes };
  }

  private tagged(ref: number, tag: number): number {
    if (tag <= 0) return tag;
    if (this.released.includes(tag)) {
      if (this.options.keepLate === true) return TAG_SESSION;
      this.late.push(ref);
      return tag;
    }
    const refs = this.turns.get(tag);
    if (refs === undefined) this.turns.set(tag, [ref]);
    else refs.push(ref);
    return tag;
  }

  private textOf(ref: number): string {
    const text = this.entries.get(ref)?.text;
    if (typeof text === "string") return text;
    this.missing += 1;
    return "";
  }
}

function countByTag(entries: ReadonlyMap<number, Entry>): Pick<PayloadStats, "sessionItems" | "turnItems"> {
  const counts = { sessionItems: 0, turnItems: 0 };
  for (const { tag } of entries.values()) {
    if (tag === TAG_SESSION) counts.sessionItems += 1;
    else counts.turnItems += 1;
  }
  return counts;
}
