import type { Digest } from "@rspp/base/digest";
import { digestCreate } from "@rspp/base/digest";
import { expect, test } from "vitest";
import { digestEffects } from "./effect-digest.ts";
import { replayJournal } from "./replay.ts";
import { restoreState, snapshotState } from "./snapshot.ts";
import { POLICY } from "./testing/harness.ts";
import { replayFromMiddle } from "./testing/replay-middle.ts";
import { checkRun } from "./testing/run-checks.ts";
import { play, randomWorld } from "./testing/workload.ts";
import { World } from "./testing/world.ts";

const RUNS = Number(process.env.KERNEL_RUNS ?? 300);
const FIRST = Number(process.env.KERNEL_SEED ?? 1);
const MOVES = 300;

/** Lets every timer fire until nothing is left to wait for. */
function quiesce(world: World): void {
  for (let i = 0; i < 12; i++) world.advance(10_000);
}

test(`NF-029 F-139 F-175 F-150 NF-009 F-141 ${RUNS} random runs: one terminal, nothing past the fence, whole evidence, replay == live`, () => {
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    try {
      const { world, r } = randomWorld(seed);
      play(world, r, MOVES);
      checkRun(world, false);
      const at = r.int(world.journal.length);
      quiesce(world);
      checkRun(world, true);
      const replay = replayJournal(world.config, JSON.parse(JSON.stringify(world.journal)));
      if (!replay.identical) throw new Error(`replay diverged: ${JSON.stringify(replay.divergences[0])}`);
      const rest = replayFromMiddle(world, at);
      if (!rest.identical) throw new Error(`replay from ${at} diverged: ${JSON.stringify(rest.divergences[0])}`);
      expect(snapshotState(rest.state)).toBe(snapshotState(world.state));
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}\n${(error as Error).stack}`);
    }
  }
});

test("NF-009 a state_snapshot record is a point that a replay can start from", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world: any, r } = randomWorld(seed);
    const world = new World({ ...any.config, recording: { ...any.config.recording, ceiling: "L1" } });
    play(world, r, 200);
    const journal = JSON.parse(JSON.stringify(world.journal)) as typeof world.journal;
    const digest: Digest = digestCreate();
    const starts: { at: number; state: string; digest: Digest }[] = [];
    replayJournal(world.config, journal, {
      onStep: (batch, effects) => {
        digestEffects(digest, effects);
        for (const effect of effects)
          if (effect.type === "record" && effect.record.kind === "state_snapshot")
            starts.push({ at: batch.index, state: effect.record.state, digest: { ...digest } });
      },
    });
    expect(starts.length).toBeGreaterThan(0);
    for (const start of starts) {
      const from = { state: restoreState(start.state), digest: start.digest };
      expect(replayJournal(world.config, journal.slice(start.at), { from }).divergences).toEqual([]);
    }
  }
});

test("F-150 a session with no behaviour flags has whole evidence, too", () => {
  const { world } = randomWorld(1);
  const h = new World({ ...world.config, behaviours: [], policy: POLICY });
  h.connect();
  h.utter("hello");
  h.reply("Fine.");
  checkRun(h, false);
  expect(h.signals("commit")).toEqual(["commit#1"]);
});
