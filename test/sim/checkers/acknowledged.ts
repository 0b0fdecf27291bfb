import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** Whatever was acknowledged is there when all is over (`kernel.md` §11): at the replay store, and on the runtime's disk. */
export class AcknowledgedChecker extends BaseChecker {
  readonly name = "acknowledged";
  readonly #exported = new Map<string, { nextIndex: number; head: string }>();
  readonly #synced = new Map<string, number>();

  see(event: TraceEvent): void {
    if (event.kind === "export_acked") {
      const known = this.#exported.get(event.stream);
      if (known === undefined || known.nextIndex < event.nextIndex)
        this.#exported.set(event.stream, { nextIndex: event.nextIndex, head: event.head });
    } else if (event.kind === "spool_synced") {
      const key = `${event.proc} ${event.stream}`;
      this.#synced.set(key, Math.max(this.#synced.get(key) ?? 0, event.seq));
    }
  }

  override end(run: RunEnd): void {
    for (const [stream, { nextIndex, head }] of this.#exported) {
      const chains = run.stored.get(stream) ?? [];
      if (chains.length < nextIndex)
        this.fail(`${stream}: ${nextIndex} records were acknowledged, the store holds ${chains.length}`);
      else if (chains[nextIndex - 1] !== head) this.fail(`${stream}: the store's record ${nextIndex - 1} is another`);
      for (let i = 0; i < nextIndex; i++) if (chains[i] === undefined) this.fail(`${stream}: record ${i} is missing`);
    }
    for (const [key, seq] of this.#synced) {
      const last = run.spooled.get(key) ?? 0;
      if (last < seq) this.fail(`${key}: synced up to ${seq}, the disk holds ${last}`);
    }
  }
}
