/** What every scenario must end with: a replay that is equal to the run (`kernel.md` §12). For tests. */
import { replayJournal } from "../replay.ts";
import type { KernelHarness } from "./harness.ts";

/** @throws Error naming the first step that differs. */
export function checkReplay(h: KernelHarness): void {
  const plain = replayJournal(h.config, h.journal);
  const recomputed = replayJournal(h.config, h.journal, { fns: h.fns });
  for (const result of [plain, recomputed]) {
    if (!result.identical) throw new Error(`the replay differs: ${JSON.stringify(result.divergences[0])}`);
    if (result.steps !== h.journal.length) throw new Error("the replay did not reach the end");
  }
}
