import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

const expectedEnds: ReadonlySet<string> = new Set([
  "succeeded",
  "operator",
  "drained",
  "ended_by_caller",
  "caller_hung_up",
  // By the pipeline's own policy, of which the dialogue's checker knows whether it was time.
  "max_duration",
  "silence",
  // The adapter has left it for a holder of a higher epoch (`kernel.md` §7), whose session may begin a little later.
  "taken_over",
]);

/** Healed, everything settles: the last utterance is answered, no session died on the way, all evidence is exported. */
export class LivenessChecker extends BaseChecker {
  readonly name = "liveness";

  /** The session's last life: one that was succeeded may end as it likes. */
  #current = "";
  readonly #early: string[] = [];

  see(event: TraceEvent): void {
    if (event.kind === "life_begins" && event.session === "session-1") this.#current = event.life;
    // Stood still past the lease and the caller's deadline alike: it may end for either, the call is its successor's.
    // Its caller is gone for good: it may end for that, within its time.
    if (event.kind === "adapter_died" && event.life === this.#current) this.#current = "";
    if (event.kind === "lease_gone" && event.life === this.#current) this.#current = "";
    if (event.kind !== "life_ends" || event.how !== "ended" || event.life !== this.#current) return;
    if (!expectedEnds.has(event.reason)) this.#early.push(`${event.life} ended: ${event.reason}`);
  }

  override end(run: RunEnd): void {
    if (!run.answered) this.fail("the last utterance was not answered");
    for (const problem of this.#early) this.fail(problem);
    for (const { proc, unacked } of run.exports)
      if (unacked > 0) this.fail(`${proc}: ${unacked} records were never exported`);
  }
}
