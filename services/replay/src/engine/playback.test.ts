import type { JournalEntry } from "@rspp/kernel/replay";
import { snapshotState } from "@rspp/kernel/snapshot";
import { play, randomWorld } from "@rspp/kernel/testing/workload";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Playback } from "./playback.ts";
import { breakpointHit, parseBreakpoint, runToEnd, runUntil } from "./replay-run.ts";
import { type ReplaySource, sourceOfJournal } from "./source.ts";

function session(seed: number, moves = 150): { source: ReplaySource; state: string } {
  const { world, r } = randomWorld(seed);
  play(world, r, moves);
  const entries = JSON.parse(JSON.stringify(world.journal)) as JournalEntry[];
  return { source: sourceOfJournal(world.config, entries), state: snapshotState(world.state) };
}

describe("playback", () => {
  test("F-029 F-151 a recorded session replays to the same timeline, tagged with its mode", () => {
    const { source } = session(3);
    const run = runToEnd(new Playback(source));
    expect(run).toMatchObject({ mode: "recorded", identical: true, steps: source.entries.length, stepDivergences: [] });
    expect(run.replayed.mode).toBe("recorded");
    expect(run.replayed.turns.length).toBeGreaterThan(0);
    expect(run.reference).toEqual({ ...run.replayed, mode: "live" });
    const changed = structuredClone(source.entries) as JournalEntry[];
    const outcome = changed.flatMap(({ batch }) => batch.inputs).find(({ body }) => body.type === "provider_outcome");
    if (outcome?.body.type === "provider_outcome") outcome.body.outcome = "unauthorized";
    const other = runToEnd(new Playback({ ...source, entries: changed }));
    expect(other.identical).toBe(false);
    expect(other.stepDivergences).toHaveLength(1);
  });

  test("F-152 a replay paused and resumed at random steps ends in the state of an uninterrupted one", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.array(fc.nat(400), { maxLength: 4 }), (seed, pauses) => {
        const { source, state } = session(seed, 80);
        const whole = runToEnd(new Playback(source));
        let run = new Playback(source);
        for (const steps of pauses) {
          for (let i = 0; i < steps; i++) run.step();
          run = new Playback(source, run.pause());
        }
        expect(runToEnd(run)).toEqual(whole);
        expect(JSON.parse(run.pause()).state).toBe(state);
      }),
      { numRuns: 25 },
    );
  });

  test("F-152 a cursor that skips a step, or of another kind, is refused or told apart", () => {
    const { source } = session(3);
    const run = new Playback(source);
    for (let i = 0; i < 10; i++) run.step();
    const saved = JSON.parse(run.pause()) as { cursor: { at: number; kind: string } };
    saved.cursor.at += 1;
    expect(runToEnd(new Playback(source, JSON.stringify(saved))).notes.join()).toMatch(/missing/);
    saved.cursor.kind = "other";
    expect(() => new Playback(source, JSON.stringify(saved))).toThrow(/no cursor/);
  });

  test("F-152 breakpoints stop at an event kind, a node, a turn and an input", () => {
    const { source } = session(3);
    const run = new Playback(source);
    const open = runUntil(run, [parseBreakpoint("kind=turn_open") ?? {}]);
    expect(open?.effects.some((effect) => effect.type === "signal" && effect.event.signal === "turn_open")).toBe(true);
    const asked = runUntil(run, [parseBreakpoint("node=llm,kind=provider_open") ?? {}]);
    expect(asked?.effects.some((effect) => effect.type === "provider_open" && effect.node === "llm")).toBe(true);
    const second = runUntil(new Playback(source), [{ turn: 2, kind: "turn_open" }]);
    expect(second?.batch.index).toBeGreaterThan(open?.batch.index ?? Number.POSITIVE_INFINITY);
    const at = runUntil(new Playback(source), [{ input: 40 }]);
    expect(at?.batch.inputs.map(({ seq }) => seq)).toContain(40);
    expect(runUntil(new Playback(source), [{ kind: "no_such_kind" }])).toBeNull();
    expect(
      breakpointHit({ step: 5 }, { batch: { ...(open as NonNullable<typeof open>).batch, index: 4 }, effects: [] }),
    ).toBe(false);
    expect(parseBreakpoint("turn=two")).toBeNull();
    expect(parseBreakpoint("colour=red")).toBeNull();
  });
});
