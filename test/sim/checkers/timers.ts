import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** How late a timer may be while its process runs: it then waits for nothing but its turn. */
const lateMaxNs = 50_000_000;

/** What was set fires, once it is due, unless it was moved or cleared: nothing waits for a timer that is lost. */
export class TimersChecker extends BaseChecker {
  readonly name = "timers";
  readonly #due = new Map<string, number>();
  /** When a process last went on; timers that fell due before are late by its pause. */
  readonly #resumedNs = new Map<string, number>();

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "process") this.#resumedNs.set(event.proc, event.up ? atNs : Number.POSITIVE_INFINITY);
    if (event.kind === "life_ends") {
      for (const key of this.#due.keys()) if (key.startsWith(`${event.life} `)) this.#due.delete(key);
    }
    if (event.kind !== "timer") return;
    const key = `${event.life} ${event.id}`;
    const lateNs = this.#lateNs(key, atNs);
    if (lateNs > lateMaxNs) this.fail(`${key} is ${Math.round(lateNs / 1e6)} ms late`);
    // One that was under way when it was moved means nothing.
    if (event.what === "fired" && (this.#due.get(key) ?? 0) > atNs) return;
    // Of work that was begun before its turn, the time may be over when it is set: it is due then, no earlier.
    if (event.what === "set") this.#due.set(key, Math.max(event.dueNs, atNs));
    else this.#due.delete(key);
  }

  override end(run: RunEnd): void {
    for (const key of this.#due.keys()) {
      const lateNs = this.#lateNs(key, run.endNs);
      if (lateNs > lateMaxNs) this.fail(`${key} was due ${Math.round(lateNs / 1e6)} ms ago and never fired`);
    }
  }

  #lateNs(key: string, atNs: number): number {
    const due = this.#due.get(key);
    const proc = key.slice(0, key.indexOf("."));
    return due === undefined ? 0 : atNs - Math.max(due, this.#resumedNs.get(proc) ?? 0);
  }
}
