import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

const expectedEnds: ReadonlySet<string> = new Set(["succeeded", "operator", "drained", "ended_by_caller", "caller_hung_up"]);

/** Healed, everything settles: the last utterance is answered, no session died on the way, all evidence is exported. */
export class LivenessChecker extends BaseChecker {
  readonly name = "liveness";

  see(_event: TraceEvent): void {}

  override end(run: RunEnd): void {
    if (!run.answered) this.fail("the last utterance was not answered");
    for (const life of run.lives) {
      if (life.over && !life.crashed && !expectedEnds.has(life.endedBecause)) this.fail(`${life.id} ended: ${life.endedBecause}`);
    }
    for (const { proc, unacked } of run.exports) if (unacked > 0) this.fail(`${proc}: ${unacked} records were never exported`);
  }
}
