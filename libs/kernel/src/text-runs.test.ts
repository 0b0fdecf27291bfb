import { expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { snapshotState } from "./snapshot.ts";
import { replayFromMiddle } from "./testing/replay-middle.ts";
import { checkRun } from "./testing/run-checks.ts";
import { randomTextGraph } from "./testing/text-graphs.ts";
import { play, randomWorld } from "./testing/workload.ts";

const RUNS = Number(process.env.KERNEL_RUNS ?? 200);
const FIRST = Number(process.env.KERNEL_SEED ?? 1);

test(`F-010 F-139 F-175 NF-009 ${RUNS} random runs over random graphs of text nodes: one terminal, nothing past the fence, replay == live`, () => {
  let heard = 0;
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    const { world, r } = randomWorld(seed, randomTextGraph);
    try {
      play(world, r, 300);
      checkRun(world, false);
      const at = r.int(world.journal.length);
      for (let i = 0; i < 12; i++) world.advance(10_000);
      checkRun(world, true);
      heard += world.log.filter(({ effect }) => effect.type === "egress_media" && !effect.end).length;
      const replay = replayJournal(world.config, JSON.parse(JSON.stringify(world.journal)));
      if (!replay.identical) throw new Error(`replay diverged: ${JSON.stringify(replay.divergences[0])}`);
      const rest = replayFromMiddle(world, at);
      if (!rest.identical) throw new Error(`replay from ${at} diverged: ${JSON.stringify(rest.divergences[0])}`);
      expect(snapshotState(rest.state)).toBe(snapshotState(world.state));
    } catch (error) {
      const edges = world.config.graph.edges.map((edge) => edge.id).join(" ");
      throw new Error(`seed ${seed}: ${edges}\n${(error as Error).stack}`);
    }
  }
  expect(heard).toBeGreaterThan(RUNS);
});
