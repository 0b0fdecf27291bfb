import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import { type JournalEntry, replayJournal } from "@rspp/kernel/replay";
import { snapshotState } from "@rspp/kernel/snapshot";
import { play, randomWorld } from "@rspp/kernel/testing/workload";
import { World } from "@rspp/kernel/testing/world";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Playback } from "./playback.ts";
import { breakpointHit, parseBreakpoint, runToEnd, runUntil } from "./replay-run.ts";
import { type ReplaySource, sourceOfJournal, sourceOfRecording } from "./source.ts";

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

  /** A recording at L1 of which the first steps are not there, as after a rise of the level. */
  function risen(seed: number): { source: ReplaySource; from: number; last: number } | null {
    const { world: any, r } = randomWorld(seed);
    const config = { ...any.config, recording: { ...any.config.recording, ceiling: "L1" as const } };
    const world = new World(config);
    play(world, r, 200);
    const entries = JSON.parse(JSON.stringify(world.journal)) as JournalEntry[];
    const signals: SignalEvent[] = [];
    const records: TimelineRecord[] = [];
    const snapshots: number[] = [];
    replayJournal(config, entries, {
      onStep: (batch, effects) => {
        for (const effect of effects) {
          if (effect.type === "signal") signals.push(effect.event);
          if (effect.type !== "record") continue;
          records.push(effect.record);
          if (effect.record.kind === "state_snapshot") snapshots.push(batch.index);
        }
      },
    });
    const from = snapshots.find((at) => at > 20 && at < entries.length - 40);
    if (from === undefined) return null;
    const recording = {
      start: { config },
      // Some steps before the snapshot are there: they have no state to start from.
      entries: entries.slice(from - 10),
      signals,
      payloads: new Map(),
      records: records.map((content) => ({ content })),
      ended: true,
    };
    const source = sourceOfRecording(recording);
    return source.ok ? { source: source.value, from, last: entries.length } : null;
  }

  test("F-153 NF-009 a recording whose level rose is replayed from the state snapshot on, against its signals and evidence", () => {
    let replayed = 0;
    for (let seed = 1; seed <= 30; seed++) {
      const found = risen(seed);
      if (found === null) continue;
      const run = runToEnd(new Playback(found.source));
      expect([seed, run.stepDivergences, run.steps]).toEqual([seed, [], found.last - found.from]);
      expect(run.notes.join()).toContain(`up to ${found.from} are not recorded`);
      replayed += 1;
      const entries = structuredClone(found.source.entries) as JournalEntry[];
      const inputs = entries.slice(10).flatMap(({ batch }) => batch.inputs);
      const opened = inputs.find(({ body }) => body.type === "proposal" || body.type === "provider_outcome");
      if (opened === undefined) continue;
      opened.body = { type: "operator", command: "cancel_session", turn: 0, reason: "planted" };
      const other = runToEnd(new Playback({ ...found.source, entries }));
      expect([seed, other.identical]).toEqual([seed, false]);
    }
    expect(replayed).toBeGreaterThan(2);
  });

  test("F-153 a recording without its first steps and without a snapshot is not replayed, and says what is missing", () => {
    const { source } = session(3);
    const run = runToEnd(new Playback({ ...source, entries: source.entries.slice(5) }));
    expect([run.steps, run.notes]).toEqual([0, [expect.stringMatching(/steps 1 to 5 are missing/)]]);
  });
});
