import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** Two seconds of caller audio, and the texts of a conversation at rest. */
const payloadItemsMax = 200;

/** Nothing grows past its bound, and an ended session leaves nothing behind. */
export class BoundsChecker extends BaseChecker {
  readonly name = "bounds";

  see(event: TraceEvent): void {
    if (event.kind === "bound") this.fail(`${event.what}: ${event.value} of at most ${event.max}`);
  }

  override end(run: RunEnd): void {
    for (const { id, over, crashed, leftOpen } of run.lives) {
      if (leftOpen === null) continue;
      const { invocations, timers, payloadItems } = leftOpen;
      if (over && !crashed && invocations + timers + payloadItems > 0) {
        this.fail(`${id}: left ${invocations} invocations, ${timers} timers, ${payloadItems} payloads`);
      }
      if (!over && payloadItems > payloadItemsMax) this.fail(`${id}: ${payloadItems} payloads held`);
    }
  }
}
