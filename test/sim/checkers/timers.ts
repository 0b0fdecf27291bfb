import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** Longer than any pause of a process. */
const lateMaxNs = 2_500_000_000;

/** What was set fires, once it is due, unless it was moved or cleared: nothing waits for a timer that is lost. */
export class TimersChecker extends BaseChecker {
  readonly name = "timers";
  readonly #due = new Map<string, number>();

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "life_ends") {
      for (const key of this.#due.keys()) if (key.startsWith(`${event.life} `)) this.#due.delete(key);
      return;
    }
    if (event.kind !== "timer") return;
    const key = `${event.life} ${event.id}`;
    const due = this.#due.get(key);
    if (due !== undefined && atNs - due > lateMaxNs) this.fail(`${key} is ${Math.round((atNs - due) / 1e6)} ms late`);
    // One that was under way when it was moved means nothing.
    if (event.what === "fired" && due !== undefined && due > atNs) return;
    if (event.what === "set") this.#due.set(key, event.dueNs);
    else this.#due.delete(key);
  }

  override end(run: RunEnd): void {
    for (const [key, due] of this.#due) {
      if (run.endNs - due > lateMaxNs / 10)
        this.fail(`${key} was due ${Math.round((run.endNs - due) / 1e6)} ms ago and never fired`);
    }
  }
}
