import { expect, test } from "vitest";
import type { NodeDefinition } from "./graph.ts";
import { replayJournal } from "./replay.ts";
import { snapshotState } from "./snapshot.ts";
import { assistantGraph } from "./testing/harness.ts";
import { replayFromMiddle } from "./testing/replay-middle.ts";
import { checkRun } from "./testing/run-checks.ts";
import { TOOL_LIMITS, tool } from "./testing/tool-scenes.ts";
import { play, randomWorld } from "./testing/workload.ts";
import type { World } from "./testing/world.ts";

const RUNS = Number(process.env.KERNEL_RUNS ?? 120);
const FIRST = Number(process.env.KERNEL_SEED ?? 1);

/** Calls begun, each with its ends: in the evidence of its turn, or after it. Exactly one, and never a second execution. */
function checkCalls(world: World): { calls: number; late: number } {
  const keys = new Set<string>();
  const begun = new Map<string, number>();
  let late = 0;
  for (const { effect } of world.log) {
    if (effect.type === "provider_open" && effect.modality === "tool") {
      if (keys.has(effect.idempotencyKey)) throw new Error(`call ${effect.idempotencyKey} was made twice`);
      keys.add(effect.idempotencyKey);
      begun.set(effect.invocationId, 0);
    }
    if (effect.type !== "record") continue;
    const { record } = effect;
    const ended = (name: string): void => void begun.set(name, (begun.get(name) ?? 0) + 1);
    if (record.kind === "late_outcome") {
      late += 1;
      ended((record.outcome as { invocationId: string }).invocationId);
    }
    if (record.kind !== "evidence") continue;
    const { invocations } = (
      record.manifest as { manifest: { invocations: { tool?: string; invocationId: string }[] } }
    ).manifest;
    for (const { tool: name, invocationId } of invocations) if (name !== undefined) ended(invocationId);
  }
  for (const [name, ends] of begun) if (ends !== 1) throw new Error(`invocation ${name} has ${ends} ends`);
  return { calls: begun.size, late };
}

test(`X-03 NF-009 F-139 F-175 ${RUNS} random runs with tools: one end of each call, none made twice, replay == live`, () => {
  const seen = { calls: 0, late: 0 };
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    const { world, r } = randomWorld(seed, (random) => {
      const graph = assistantGraph({
        llm: ["sim/llm", "sim/llm-b"],
        endpointing: { speculate_ms: random.chance(0.5) ? 40 : 0 },
      });
      const filler = { text: "One moment. ", afterMs: 1 + random.int(300) };
      const tools = [
        tool("look", "none", { deadlineMs: 100 + random.int(3_000), ...(random.chance(0.5) ? { filler } : {}) }),
        tool("order", "side_effecting", { deadlineMs: 100 + random.int(6_000) }),
      ];
      const toolLimits = {
        ...TOOL_LIMITS,
        roundsMax: 1 + random.int(4),
        parallelMax: 1 + random.int(3),
        resultBytesMax: random.chance(0.5) ? 100 : 60_000,
        lateResult: random.chance(0.5) ? ("propose" as const) : ("note" as const),
      };
      const nodes = graph.nodes.map(
        (node): NodeDefinition => (node.kind === "llm" ? { ...node, tools, toolLimits } : node),
      );
      return { ...graph, nodes };
    });
    try {
      play(world, r, 300);
      checkRun(world, false);
      const at = r.int(world.journal.length);
      for (let i = 0; i < 12; i++) world.advance(10_000);
      checkRun(world, true);
      const found = checkCalls(world);
      seen.calls += found.calls;
      seen.late += found.late;
      const replay = replayJournal(world.config, JSON.parse(JSON.stringify(world.journal)));
      if (!replay.identical) throw new Error(`replay diverged: ${JSON.stringify(replay.divergences[0])}`);
      const rest = replayFromMiddle(world, at);
      if (!rest.identical) throw new Error(`replay from ${at} diverged: ${JSON.stringify(rest.divergences[0])}`);
      expect(snapshotState(rest.state)).toBe(snapshotState(world.state));
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).stack}`);
    }
  }
  expect(seen.calls).toBeGreaterThan(RUNS / 2);
  expect(seen.late).toBeGreaterThan(RUNS / 30);
});
