import { BaseChecker, type RunEnd } from "./checker.ts";

/** The journal of every session, fed to a fresh kernel, gives the same effects (`kernel.md` §12). */
export class ReplayChecker extends BaseChecker {
  readonly name = "replay";

  see(): void {}

  override end(run: RunEnd): void {
    for (const { id, replayProblem } of run.lives) {
      if (replayProblem !== null && replayProblem !== "") this.fail(`${id}: ${replayProblem}`);
    }
  }
}
