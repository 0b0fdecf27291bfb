import { canonicalJson } from "@rspp/base/canonical-json";

/**
 * Where the timeline of one stream stands, and what its next records need of those before. It is kept with the spool's
 * export mark, so that the same records come out with the same digests after a restart, when those before may be gone.
 */
export interface ChainPlace {
  tenant: string;
  session: string;
  epoch: number;
  /** `name@version`. */
  pipeline: string;
  level: "L0" | "L1" | "L2";
  /** Sequence of the last timeline record made; 0 for none. */
  sequence: number;
  /** Its digest; of a stream's start, the predecessor's. */
  head: Uint8Array;
  /** The last batch of the journal, and the effects told since. */
  batch: number;
  effects: number;
  /** The last instant that was told, nanoseconds. */
  monoNs: number;
}

/** A stream's start; what its session record would say is taken over from the predecessor, where there is one. */
export function placeAtStart(session: string, epoch: number, before: ChainPlace | null): ChainPlace {
  const { tenant = "", pipeline = "", level = "L0", head = new Uint8Array(0), batch = 0, monoNs = 0 } = before ?? {};
  return { tenant, session, epoch, pipeline, level, sequence: 0, head, batch, effects: 0, monoNs };
}

/** As it stands in a mark. */
export function writePlace(place: ChainPlace): string {
  return canonicalJson({ ...place, head: Buffer.from(place.head).toString("hex") });
}

/** Null for what {@link writePlace} did not write. */
export function readPlace(text: string): ChainPlace | null {
  try {
    const found = JSON.parse(text) as Record<string, unknown> | null;
    if (found === null || typeof found !== "object") return null;
    const { tenant, session, epoch, pipeline, level, sequence, head, batch, effects, monoNs } = found;
    if (typeof tenant !== "string" || typeof session !== "string" || typeof pipeline !== "string") return null;
    if (typeof head !== "string" || !/^(?:[0-9a-f]{64})?$/.test(head)) return null;
    if (level !== "L0" && level !== "L1" && level !== "L2") return null;
    if (!isCount(epoch) || !isCount(sequence) || !isCount(batch) || !isCount(effects) || !isCount(monoNs)) return null;
    const bytes = new Uint8Array(Buffer.from(head, "hex"));
    return { tenant, session, epoch, pipeline, level, sequence, head: bytes, batch, effects, monoNs };
  } catch {
    return null;
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
