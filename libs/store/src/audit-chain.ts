/** Checks a chain of audit records, in the database or in an exported file (F-170). Nothing here needs a platform. */
import { createHash } from "node:crypto";
import type { AuditHead } from "./audit-store.ts";

/** As much of a record as the chain needs. */
export interface ChainLink {
  readonly id: number;
  readonly previous: Uint8Array;
  readonly digest: Uint8Array;
  readonly row: string;
}

export interface ChainFault {
  readonly id: number;
  readonly kind: "edited" | "removed" | "inserted" | "head";
  readonly what: string;
}

const faultsMax = 256;

export function digestOf(previous: Uint8Array, row: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(previous).update(row, "utf8").digest());
}

export function sameDigest(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a).equals(b);
}

/** Fed with records in order; keeps one of them, and 256 faults at most. */
export class ChainCheck {
  readonly faults: ChainFault[] = [];
  #count = 0;
  #last: { readonly id: number; readonly digest: Uint8Array } | null;
  readonly #anchor: AuditHead | null;
  #anchorSeen = false;

  /**
   * `after`: what stands before the first record that comes; null: it is not known, as in a part of an export. `anchor`: a record
   * that was seen earlier and must still stand there.
   */
  constructor(after: AuditHead | null = { id: 0, digest: new Uint8Array(32) }, anchor: AuditHead | null = null) {
    this.#last = after;
    this.#anchor = anchor;
  }

  get count(): number {
    return this.#count;
  }

  /** The last record fed; id 0 when there was none. */
  get end(): AuditHead {
    return this.#last ?? { id: 0, digest: new Uint8Array(32) };
  }

  feed({ id, previous, digest, row }: ChainLink): void {
    this.#count++;
    const last = this.#last;
    if (last !== null) {
      if (id > last.id + 1) {
        const gone = id === last.id + 2 ? `record ${last.id + 1} is` : `records ${last.id + 1} to ${id - 1} are`;
        this.#fault(last.id + 1, "removed", `${gone} not there`);
      } else if (id <= last.id) {
        this.#fault(id, "inserted", `record ${id} stands after record ${last.id}`);
      } else if (!sameDigest(previous, last.digest)) {
        this.#fault(id, "inserted", `record ${id} does not follow record ${last.id}: one of the two was put there`);
      }
    }
    if (idOf(row) !== id) this.#fault(id, "edited", `record ${id} calls itself another`);
    else if (!sameDigest(digestOf(previous, row), digest)) {
      this.#fault(id, "edited", `record ${id} is not what was written: its digest does not hold`);
    }
    if (this.#anchor !== null && id === this.#anchor.id) {
      this.#anchorSeen = true;
      if (!sameDigest(digest, this.#anchor.digest)) {
        this.#fault(id, "edited", `record ${id} is not the one that was seen before: the chain was written anew`);
      }
    }
    this.#last = { id, digest };
  }

  /** After the last record; `head` is where the chain is said to end. */
  finish(head: AuditHead): readonly ChainFault[] {
    const { id, digest } = this.end;
    if (id < head.id) {
      this.#fault(id + 1, "removed", `the chain ends with record ${id}, but record ${head.id} was written`);
    } else if (id > head.id) {
      this.#fault(id, "inserted", `record ${id} stands after the end of the chain, record ${head.id}`);
    } else if (!sameDigest(digest, head.digest)) {
      this.#fault(id, "head", `the end of the chain is another than record ${id}`);
    }
    if (this.#anchor !== null && this.#anchor.id > 0 && !this.#anchorSeen) {
      this.#fault(this.#anchor.id, "removed", `record ${this.#anchor.id}, seen before, is not there`);
    }
    return this.faults;
  }

  #fault(id: number, kind: ChainFault["kind"], what: string): void {
    if (this.faults.length < faultsMax) this.faults.push({ id, kind, what });
  }
}

/** The id a row holds, its first member; NaN when it is no row. */
function idOf(row: string): number {
  return Number(/^\[(\d+), /.exec(row)?.[1] ?? Number.NaN);
}
