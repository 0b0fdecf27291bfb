import { assistantGraph, KernelHarness, testConfig } from "@rspp/kernel/testing/harness";
import type { World } from "./world.ts";

/**
 * T9, by hand: the shell reports an exhausted reservation for the turn whose evidence it was writing, and that turn is
 * closed by then, so that the full stack never shows this row. The kernel is the real one, and the checkers see it.
 */
export function runDirected(world: World): void {
  const rng = world.rng.fork("directed");
  if (!rng.chance(25)) return;
  const harness = new KernelHarness(testConfig(assistantGraph()));
  const life = "directed/session-t9@1";
  harness.connect();
  harness.utter("what time is it", rng.int(6, 20));
  if (rng.chance(50)) harness.feed(harness.textChunk(harness.open("llm"), "It is late. "));
  harness.feed({ type: "append_failed", turn: 1, exhausted: true });
  harness.advance(6_000);
  for (const { effect } of harness.log) {
    if (effect.type === "signal") world.trace.add({ kind: "signal", life, event: effect.event });
    else if (effect.type === "record") world.trace.add({ kind: "record", life, record: effect.record, appended: true });
  }
}
