import type { GraphDefinition } from "@rspp/kernel/graph";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "@rspp/kernel/testing/harness";
import { play, randomWorld } from "@rspp/kernel/testing/workload";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Playback } from "./playback.ts";
import { runToEnd } from "./replay-run.ts";
import { Rerun, type RerunOptions } from "./rerun.ts";
import type { CallView, Recomputed, Resimulator } from "./resimulator.ts";
import { type ReplaySource, sourceOfJournal } from "./source.ts";

function randomSession(seed: number, moves = 120): ReplaySource {
  const { world, r } = randomWorld(seed);
  play(world, r, moves);
  const entries = JSON.parse(JSON.stringify(world.journal)) as JournalEntry[];
  return sourceOfJournal(world.config, entries, new Map(world.texts));
}

/** A question, its reply, and a second question that interrupts it. */
function conversation(over: Partial<SessionConfig> = {}, graph: GraphDefinition = assistantGraph()): ReplaySource {
  const h = new KernelHarness(testConfig(graph, { policy: POLICY, ...over }));
  h.connect();
  h.utter("what time is it");
  h.hear(false, 6);
  h.reply("It is noon. Time to eat.", 40);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(2_000);
  h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  h.utter("and in rome");
  h.reply("The same.", 40);
  h.advance(50);
  h.deliver(2, "accepted", 0);
  h.deliver(2, "started", 0);
  h.advance(2_000);
  h.deliver(2, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  return sourceOfJournal(h.config, JSON.parse(JSON.stringify(h.journal)) as JournalEntry[], new Map(h.texts));
}

function against(source: ReplaySource, graph: GraphDefinition, over: Partial<SessionConfig> = {}): RerunOptions {
  const snapshots = { ...source.config.snapshots, pipeline: "p@2" };
  return { mode: "recorded", against: { config: { ...source.config, graph, snapshots, ...over }, texts: new Map() } };
}

const echo: Resimulator = {
  emit(call: CallView, index: number): Recomputed | null {
    const body = call.recorded(index);
    return body === undefined ? null : { body };
  },
};

describe("rerun", () => {
  test("F-151 over the same pipeline, served or recomputed alike, every step is the recorded one", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const source = randomSession(seed);
      const played = runToEnd(new Playback(source));
      const rerun = runToEnd(new Rerun(source, { mode: "recorded" }));
      expect([seed, rerun.identical, rerun.steps]).toEqual([seed, true, played.steps]);
      expect(rerun.digest).toBe(played.digest);
      expect(rerun.replayed).toEqual(played.replayed);
    }
    const source = conversation();
    const rerun = runToEnd(new Rerun(source, { mode: "resimulate", resimulator: echo }));
    expect(rerun).toMatchObject({ mode: "resimulate", identical: true, replayed: { mode: "resimulate" } });
    expect(rerun.notes[0]).toMatch(/^[1-9]\d* emissions were recomputed, 0 served/);
  });

  test("F-152 a rerun paused and resumed anywhere ends as an uninterrupted one, against another version too", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 99 }), fc.array(fc.nat(200), { maxLength: 3 }), (seed, pauses) => {
        const source = randomSession(seed, 60);
        const other = against(source, source.config.graph, { policy: { ...source.config.policy, bargeIn: false } });
        for (const options of [{ mode: "recorded" } as const, other]) {
          const whole = runToEnd(new Rerun(source, options));
          let run = new Rerun(source, options);
          for (const steps of pauses) {
            for (let i = 0; i < steps; i++) run.step();
            run = new Rerun(source, { ...options, paused: run.pause() });
          }
          expect(runToEnd(run)).toEqual(whole);
        }
      }),
      { numRuns: 10 },
    );
  });

  test("F-072 a version of another name alone answers the same, at the same instants", () => {
    const source = conversation();
    const { reference, replayed, identical, pipeline } = runToEnd(
      new Rerun(source, against(source, source.config.graph)),
    );
    expect([identical, pipeline]).toEqual([false, "p@2"]);
    const bare = (turns: typeof replayed.turns) => turns.map(({ planHash: _, ...rest }) => rest);
    expect(bare(replayed.turns)).toEqual(bare(reference?.turns ?? []));
    expect(replayed.turns.map(({ planHash }) => planHash)).not.toEqual(
      reference?.turns.map(({ planHash }) => planHash),
    );
  });

  test("F-072 a version that waits longer for the caller's end opens its turns later, and still answers", () => {
    const source = conversation();
    const slow = assistantGraph({ endpointing: { endpoint_silence_ms: 180 } });
    const { reference, replayed } = runToEnd(new Rerun(source, against(source, slow)));
    const opens = (turns: typeof replayed.turns) => turns.map(({ openNs }) => openNs ?? 0);
    const [before = 0] = opens(reference?.turns ?? []);
    const [after = 0] = opens(replayed.turns);
    expect(after).toBeGreaterThan(before);
    expect(replayed.turns[0]).toMatchObject({ terminal: "commit", output: { text: "It is noon. Time to eat." } });
  });

  test("F-072 a version with a node that the recording has no output of says so, and its call fails", () => {
    const source = conversation({}, assistantGraph());
    const graph = assistantGraph({ tts: ["sim/other"] });
    const renamed = JSON.parse(
      JSON.stringify(graph).replaceAll('"llm"', '"brain"').replaceAll("llm.", "brain."),
    ) as GraphDefinition;
    const nodes = renamed.nodes.map((node) => (node.id === "brain" ? { ...node, kind: "llm" as const } : node));
    const run = runToEnd(new Rerun(source, against(source, { ...renamed, nodes })));
    expect(run.notes.join("\n")).toMatch(/Nothing is recorded that answers call\/1\/brain\/llm/);
    expect(run.replayed.turns[0]?.terminal).toBe("abort");
  });

  test("F-151 recomputed emissions that are other, missing or extra are divergences at their recorded positions", () => {
    const source = conversation();
    const changed = (change: (call: CallView, index: number) => Recomputed | null | undefined): Resimulator => ({
      emit: (call, index) =>
        call.opened.type === "provider_open" && call.opened.modality === "llm" ? change(call, index) : undefined,
    });
    const run = (resimulator: Resimulator) => runToEnd(new Rerun(source, { mode: "resimulate", resimulator }));
    const other = run(
      changed((call, index) => {
        const body = call.recorded(index);
        return body === undefined
          ? null
          : { body, ...(body.type === "provider_chunk" ? { text: "It is midnight. Go to bed now." } : {}) };
      }),
    );
    expect(other.stepDivergences[0]).toMatchObject({ class: "PAYLOAD" });
    expect(other.replayed.turns[0]?.output.text).toContain("midnight");
    const missing = run(
      changed((call, index) => (index === 0 ? null : { body: call.recorded(index) ?? { type: "timer", id: "" } })),
    );
    expect(missing.stepDivergences[0]).toMatchObject({ class: "ORDERING", found: "no emission" });
    const failed = run(
      changed((call, index) => {
        const body = call.recorded(index);
        if (body?.type === "provider_outcome") return { body: { ...body, outcome: "error" } };
        return body === undefined ? null : { body };
      }),
    );
    expect(failed.stepDivergences[0]).toMatchObject({ class: "OUTCOME" });
    const extra = run(
      changed((call, index) => {
        const first = call.recorded(0);
        const last = call.recorded(1);
        if (first === undefined || last === undefined) return null;
        return index < 2 ? { body: first, text: "It is noon. Time to eat." } : { body: last };
      }),
    );
    expect(extra.stepDivergences[0]).toMatchObject({ class: "ORDERING", expected: "no emission" });
  });
});
