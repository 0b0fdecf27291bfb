import { type Ring, ringCreate, ringPeek, ringPush, ringShift } from "@rspp/base/ring";
import type { PayloadHandle, TextSpan } from "@rspp/kernel/event";
import { limits } from "./limits.ts";

/** Payloads of a turn's invocations carry that turn's number, which is positive. */
export const TAG_SESSION = 0;
export const TAG_INPUT = -1;

interface Entry {
  bytes: Uint8Array | null;
  text: string | null;
  size: number;
  tag: number;
  /** Monotonic stamp of the frame, for caller audio; 0 otherwise. */
  stampNs: number;
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
  putInputAudio(bytes: Uint8Array, endUs: number, stampNs: number): PayloadHandle | null;
  putText(text: string, tag: number): PayloadHandle | null;
  /** For refs that the kernel chose (negative) or the caller of `openSession` named (positive). */
  putTextAt(ref: number, text: string, tag: number): PayloadHandle | null;
  audio(ref: number): Uint8Array | null;
  /** Joined text of the spans; a missing payload counts as empty and is counted. */
  join(spans: readonly TextSpan[]): string;
  /** Stamp of a caller frame; 0 when unknown. */
  stampOf(ref: number): number;
  free(ref: number): void;
  /** As {@link PayloadStore.free}, but caller audio stays until {@link PayloadStore.trimInput} takes it. */
  freeSent(ref: number): void;
  /** Frees caller audio that ends more than 2 s of media before `newestUs`. */
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
  const bytesMax = options.bytesMax ?? limits.PAYLOAD_BYTES_MAX;
  const itemsMax = options.itemsMax ?? limits.PAYLOAD_ITEMS_MAX;
  const entries = new Map<number, Entry>();
  const turns = new Map<number, number[]>();
  const released: number[] = [];
  let late: number[] = [];
  const caller: Ring<{ ref: number; endUs: number }> = ringCreate(limits.CALLER_AUDIO_ITEMS_MAX);
  let nextRef = 1;
  let bytes = 0;
  let bytesPeak = 0;
  let missing = 0;

  const free = (ref: number): void => {
    const entry = entries.get(ref);
    if (entry === undefined) return;
    entries.delete(ref);
    bytes -= entry.size;
  };
  const tagged = (ref: number, tag: number): number => {
    if (tag <= 0) return tag;
    if (released.includes(tag)) {
      if (options.keepLate === true) return TAG_SESSION;
      late.push(ref);
      return tag;
    }
    const refs = turns.get(tag);
    if (refs === undefined) turns.set(tag, [ref]);
    else refs.push(ref);
    return tag;
  };
  const put = (ref: number, content: Uint8Array | string, wanted: number, stampNs: number): PayloadHandle | null => {
    const isText = typeof content === "string";
    const size = isText ? content.length * 2 : content.byteLength;
    if (bytes + size > bytesMax || entries.size >= itemsMax) return null;
    free(ref);
    const tag = tagged(ref, wanted);
    entries.set(ref, { bytes: isText ? null : content, text: isText ? content : null, size, tag, stampNs });
    bytes += size;
    if (bytes > bytesPeak) bytesPeak = bytes;
    options.onPut?.(ref, content);
    const hash = options.hash ? options.hash(content) : "";
    return { ref, hash, bytes: isText ? Buffer.byteLength(content) : size };
  };
  const textOf = (ref: number): string => {
    const text = entries.get(ref)?.text;
    if (typeof text === "string") return text;
    missing += 1;
    return "";
  };

  return {
    putAudio: (content, tag) => put(nextRef++, content, tag, 0),
    putInputAudio(content, endUs, stampNs) {
      const ref = nextRef++;
      const handle = put(ref, content, TAG_INPUT, stampNs);
      if (handle === null) return null;
      if (caller.size >= caller.capacity) free(ringShift(caller)?.ref ?? 0);
      ringPush(caller, { ref, endUs });
      return handle;
    },
    putText: (text, tag) => put(nextRef++, text, tag, 0),
    putTextAt(ref, text, tag) {
      if (ref >= nextRef) nextRef = ref + 1;
      return put(ref, text, tag, 0);
    },
    audio(ref) {
      const content = entries.get(ref)?.bytes;
      if (content) return content;
      missing += 1;
      return null;
    },
    join(spans) {
      const only = spans[0];
      if (spans.length === 1 && only !== undefined) return textOf(only.ref).slice(only.from, only.to);
      let joined = "";
      for (const span of spans) joined += textOf(span.ref).slice(span.from, span.to);
      return joined;
    },
    stampOf: (ref) => entries.get(ref)?.stampNs ?? 0,
    free,
    freeSent(ref) {
      if (entries.get(ref)?.tag !== TAG_INPUT) free(ref);
    },
    trimInput(newestUs) {
      for (let oldest = ringPeek(caller); oldest !== undefined; oldest = ringPeek(caller)) {
        if (newestUs - oldest.endUs <= limits.CALLER_AUDIO_KEPT_US) return;
        free(oldest.ref);
        ringShift(caller);
      }
    },
    releaseTurn(turn, keep) {
      const refs = turns.get(turn) ?? [];
      turns.delete(turn);
      for (const ref of refs) {
        const entry = entries.get(ref);
        if (entry === undefined) continue;
        if (keep.includes(ref)) entry.tag = TAG_SESSION;
        else free(ref);
      }
      released.push(turn);
      if (released.length > limits.RELEASED_TURNS_MAX) released.shift();
    },
    freeLate() {
      if (late.length === 0) return;
      for (const ref of late) free(ref);
      late = [];
    },
    clear() {
      entries.clear();
      turns.clear();
      late = [];
      while (ringShift(caller) !== undefined);
      bytes = 0;
    },
    stats: () => ({ ...countByTag(entries), items: entries.size, bytes, bytesPeak, missing }),
  };
}

function countByTag(
  entries: ReadonlyMap<number, Entry>,
): Pick<PayloadStats, "inputItems" | "sessionItems" | "turnItems"> {
  const counts = { inputItems: 0, sessionItems: 0, turnItems: 0 };
  for (const { tag } of entries.values()) {
    if (tag === TAG_INPUT) counts.inputItems += 1;
    else if (tag === TAG_SESSION) counts.sessionItems += 1;
    else counts.turnItems += 1;
  }
  return counts;
}
