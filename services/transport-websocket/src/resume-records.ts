/**
 * Frames as they were sent, kept for a client that may come back (libs/protocol reattach). They live for half a second, as
 * long as a collector of garbage likes least, so their memory is filled anew instead of being let go (P2).
 */
import type { MonoNs } from "@rspp/base/brand";
import type { TokenClaims } from "@rspp/ports/session-opener";
import { createReattachServer, replayRecord, replaySpare } from "@rspp/protocol/reattach-server";
import type { ReattachServerState } from "@rspp/protocol/reattach-types";
import type { AgainItem } from "./outbox.ts";

/** A frame in memory that may be longer than it. */
export interface Kept {
  bytes: Uint8Array;
  from: number;
  to: number;
}

/** Larger memory is not kept for later frames. */
const SPARE_BYTES_MAX = 4_096;
const ROUNDED_TO_BYTES = 64;

export class ResumeRecords {
  readonly state: ReattachServerState<Kept>;

  constructor(session: string, tokenRef: string) {
    this.state = createReattachServer<Kept>(session, tokenRef);
  }

  /** The client has everything up to `sequence`, which another adapter sent. */
  goOnAfter(sequence: number): void {
    this.state.last.data = sequence;
    this.state.lost.data = sequence;
  }

  /** The sequence that the next frame gets. */
  next(): number {
    return this.state.last.data + 1;
  }

  /** Keeps a copy of `bytes`, of which the frame is what follows `from`. `turn`: null for what is of no turn. */
  keep(bytes: Uint8Array, from: number, turn: number | null, generation: number, now: MonoNs): number {
    const kept = this.#room(bytes.length);
    kept.bytes.set(bytes);
    kept.from = from;
    kept.to = bytes.length;
    const event = { lane: "data" as const, turn, generation, bytes: bytes.length - from, payload: kept };
    return replayRecord(this.state, event, now);
  }

  /** Copies of what was kept after `sequence`. */
  since(sequence: number): AgainItem[] {
    return this.state.entries.filter((entry) => entry.seq > sequence).map(againItem);
  }

  #room(size: number): Kept {
    const spare = replaySpare(this.state);
    if (spare !== undefined && spare.bytes.length >= size && spare.bytes.length <= SPARE_BYTES_MAX) return spare;
    return { bytes: new Uint8Array(Math.ceil(size / ROUNDED_TO_BYTES) * ROUNDED_TO_BYTES), from: 0, to: 0 };
  }
}

/** A copy: what is kept may be filled anew as soon as something else is recorded. */
export function againItem(entry: { seq: number; turn: number | null; generation: number; payload: Kept }): AgainItem {
  const { bytes, from, to } = entry.payload;
  return { sequence: entry.seq, turn: entry.turn, generation: entry.generation, record: bytes.slice(from, to) };
}

/** The token's part that a returning client must match; tokens are renewed, this stays. */
export function bindingOf({ tenant, session, pipelineVersion }: TokenClaims): string {
  return JSON.stringify([tenant, session, pipelineVersion]);
}
