import { expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import type { SessionConfig, SessionPolicy } from "./session-config.ts";
import { replayFromMiddle } from "./testing/replay-middle.ts";
import { checkRun } from "./testing/run-checks.ts";
import { play, randomWorld } from "./testing/workload.ts";
import { randomOf, World } from "./testing/world.ts";

const RUNS = Number(process.env.KERNEL_RUNS ?? 100);
const FIRST = Number(process.env.KERNEL_SEED ?? 1);

const SENTENCES = ["Are you there?", "One minute left.", "Goodbye.", "Sum it up."];
const span = (i: number) => [{ ref: 900_000 + i, from: 0, to: SENTENCES[i]?.length ?? 0 }];
const SPOKEN: NonNullable<SessionConfig["spoken"]> = {
  "silence[0]": span(0),
  "max_call.warning": span(1),
  hang_up: span(2),
  "history.summary": span(3),
};

/** Most of the workload's words, so that some utterances are made of them alone. */
const ASSENT = "the fox went out on a night and prayed for to him light".split(" ");

/** Any mix of what a spec may say of the dialogue; bounds short enough to be met in a run. */
function dialogue(seed: number): Partial<SessionPolicy> {
  const r = randomOf(seed * 7 + 3);
  const policy: Partial<SessionPolicy> = {};
  const andThen = r.chance(0.5) ? ("hang_up" as const) : ("nothing" as const);
  if (r.chance(0.7)) policy.silence = { afterMs: 200 + r.int(600), prompts: 1, maxPrompts: 1 + r.int(3), andThen };
  if (r.chance(0.4)) policy.hangUp = { phrases: r.chance(0.5) ? ["the moon"] : [], marker: "chilly", key: "*" };
  if (r.chance(0.4)) {
    policy.maxCallMs = 2_000 + r.int(6_000);
    policy.maxCallWarningMs = 1_000;
  }
  if (r.chance(0.5)) policy.minSpeechMs = 40 + r.int(200);
  if (r.chance(0.6)) policy.backChannel = { words: ASSENT, maxMs: 200 + r.int(600) };
  if (r.chance(0.5)) policy.echoGuard = true;
  if (r.chance(0.4)) policy.pronunciations = [{ text: "fox", say: "vulpes vulpes" }];
  if (r.chance(0.6)) {
    const summary = r.chance(0.7) ? { summary: { node: "llm", charsMax: 40 } } : {};
    policy.history = { estimator: "chars/4@1", turnsMax: 1 + r.int(3), tokensMax: 16 + r.int(40), ...summary };
  }
  return policy;
}

test(`X-01 X-04 X-09 NF-029 ${RUNS} random runs of any dialogue: one terminal, nothing past the fence, whole evidence, replay == live`, () => {
  const met = new Map<string, number>();
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    try {
      const { world: any, r } = randomWorld(seed);
      const policy = { ...any.config.policy, ...dialogue(seed) };
      const world = new World({ ...any.config, policy, spoken: SPOKEN });
      SENTENCES.forEach((text, i) => void world.texts.set(900_000 + i, text));
      play(world, r, 300);
      checkRun(world, false);
      const at = r.int(world.journal.length);
      for (let i = 0; i < 16; i++) world.advance(10_000);
      checkRun(world, true);
      for (const name of found(world)) met.set(name, (met.get(name) ?? 0) + 1);
      const journal = JSON.parse(JSON.stringify(world.journal)) as typeof world.journal;
      const replay = replayJournal(world.config, journal);
      if (!replay.identical) throw new Error(`replay diverged: ${JSON.stringify(replay.divergences[0])}`);
      const rest = replayFromMiddle(world, at);
      if (!rest.identical) throw new Error(`replay from ${at} diverged: ${JSON.stringify(rest.divergences[0])}`);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}\n${(error as Error).stack}`);
    }
  }
  for (const name of WANTED) expect(met.get(name) ?? 0, `runs that met ${name}`).toBeGreaterThan(0);
});

const WANTED = [
  "turn_open_proposed(silence)",
  "turn_open_proposed(max_duration)",
  "ended(silence)",
  "ended(max_duration)",
  "ended(agent_hangup)",
  "utterance_discarded_back_channel",
  "history_summary",
  "history_summary_failed",
];

/** What of the dialogue a run has met. */
function found(world: World): Set<string> {
  const names = new Set(world.signals("turn_open_proposed"));
  for (const { effect } of world.log) {
    if (effect.type === "telemetry") names.add(effect.name);
    if (effect.type === "status") names.add(`${effect.phase}(${effect.reason})`);
  }
  return names;
}
