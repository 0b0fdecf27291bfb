import { expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { snapshotState } from "./snapshot.ts";
import { answerConditions, randomEdgeGraph } from "./testing/edge-graphs.ts";
import { replayFromMiddle } from "./testing/replay-middle.ts";
import { checkRun } from "./testing/run-checks.ts";
import { play, randomWorld } from "./testing/workload.ts";
import type { World } from "./testing/world.ts";

const RUNS = Number(process.env.KERNEL_RUNS ?? 80);
const FIRST = Number(process.env.KERNEL_SEED ?? 1);

/** What holds of every edge at the end of a run, when nothing is under way any more. */
function checkEdges(world: World): void {
  const { graph } = world.config;
  world.state.run.edges.forEach((edge, e) => {
    const id = graph.edges[e]?.id ?? "";
    if (edge === null) return;
    const { accepted, delivered, evicted, merged, queue, waiting, extras } = edge;
    // What a lost lease or a cancel has emptied is in none of the counts.
    if (accepted < delivered + queue.size + evicted + merged) throw new Error(`${id}: more left than came in`);
    const { credits, maxItems } = graph.edges[e]?.buffer ?? { maxItems: 0 };
    if (queue.size > maxItems + 18 || waiting.size > maxItems + 18) throw new Error(`${id}: past its bound`);
    if (credits !== undefined && extras !== undefined && extras.owed > credits)
      throw new Error(`${id}: owes ${extras.owed}`);
  });
}

/** Credits granted on an edge of the session cover all that was sent on it. */
function checkCredits(world: World): void {
  const granted = new Map<string, number>();
  for (const { effect } of world.log) {
    if (effect.type !== "signal" || effect.event.signal !== "credit_grant" || effect.event.turn !== 0) continue;
    const id = String(effect.event.fields.edge);
    granted.set(id, (granted.get(id) ?? 0) + Number(effect.event.fields.amount));
  }
  world.config.graph.edges.forEach(({ id, buffer }, e) => {
    const edge = world.state.run.edges[e];
    if (edge === null || edge === undefined || buffer.credits === undefined || !granted.has(id)) return;
    const sent = edge.delivered;
    if (sent > (granted.get(id) ?? 0)) throw new Error(`${id}: ${sent} delivered, ${granted.get(id)} granted`);
  });
}

test(`F-018 F-044 F-143 F-144 F-145 F-146 F-147 ${RUNS} random runs over random buffers and conditions: one terminal, bounds hold, replay == live`, () => {
  const told = new Set<string>();
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    const { world, r } = randomWorld(seed, randomEdgeGraph);
    world.predicate = answerConditions;
    try {
      play(world, r, 250);
      checkRun(world, false);
      const at = r.int(world.journal.length);
      for (let i = 0; i < 12; i++) world.advance(10_000);
      checkRun(world, true);
      checkEdges(world);
      checkCredits(world);
      for (const { effect } of world.log)
        if (effect.type === "signal") told.add(`${effect.event.signal}(${effect.event.reason})`);
      const replay = replayJournal(world.config, JSON.parse(JSON.stringify(world.journal)));
      if (!replay.identical) throw new Error(`replay diverged: ${JSON.stringify(replay.divergences[0])}`);
      const rest = replayFromMiddle(world, at);
      if (!rest.identical) throw new Error(`replay from ${at} diverged: ${JSON.stringify(rest.divergences[0])}`);
      expect(snapshotState(rest.state)).toBe(snapshotState(world.state));
    } catch (error) {
      const edges = world.config.graph.edges.map(
        ({ id, buffer, condition }) => `${id} ${JSON.stringify({ ...buffer, condition })}`,
      );
      throw new Error(`seed ${seed}: ${(error as Error).stack}\n${edges.join("\n")}`);
    }
  }
  // The runs reach what they are about.
  for (const one of [
    "watermark(high)",
    "watermark(low)",
    "credit_grant()",
    "discontinuity(atomic_drop)",
    "discontinuity(drop_with_discontinuity)",
    "drop_notice(sampled)",
    "drop_notice(max_latency_ms)",
    "drop_notice(sync_group)",
    "route_decision(condition)",
    "route_decision(condition_failed)",
    "degrade(watermark_degrade)",
  ])
    expect([...told]).toContain(one);
});
