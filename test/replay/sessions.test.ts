/** Recordings of simulated sessions with mixed faults, read back from their spools and replayed (`kernel.md` §12). */
import { canonicalJson } from "@rspp/base/canonical-json";
import { diffTimelines } from "@rspp/replay/engine/diff";
import { Playback } from "@rspp/replay/engine/playback";
import { reportOf } from "@rspp/replay/engine/replay-report";
import { runToEnd } from "@rspp/replay/engine/replay-run";
import { Rerun } from "@rspp/replay/engine/rerun";
import { type ReplaySource, sourceOfRecording, timelineOfRecording } from "@rspp/replay/engine/source";
import type { Recording } from "@rspp/replay/re-execute";
import { listSessions, readSession } from "@rspp/runtime/spool/reader";
import { expect, test } from "vitest";
import { runSeed } from "../sim/run-seed.ts";

interface Recorded {
  readonly name: string;
  readonly recording: Recording;
  readonly source: ReplaySource;
  readonly damaged: boolean;
}

/** Every session that the runtimes of these runs recorded with a journal. */
function sessionsOf(seeds: readonly number[], level: "L1" | "L2"): { found: Recorded[]; faults: number } {
  const found: Recorded[] = [];
  let faults = 0;
  for (const seed of seeds) {
    const { injected } = runSeed(seed, {
      level,
      onEnd: (world) => {
        for (const { proc, store } of world.runtimes)
          for (const { tenantId, sessionId } of listSessions(store)) {
            const { runs, problems } = readSession(store, sessionId, tenantId);
            for (const [i, recording] of runs.entries()) {
              const damaged = problems.length > 0;
              const source = sourceOfRecording(recording, damaged);
              if (source.ok)
                found.push({
                  name: `${seed}/${proc.name}/${sessionId}#${i}`,
                  recording,
                  source: source.value,
                  damaged,
                });
            }
          }
      },
    });
    faults += injected.length;
  }
  return { found, faults };
}

/** Steps that stand in the recording, one behind the other, from the first. */
function whole({ source: { entries } }: Recorded): boolean {
  return entries.every(({ batch }, i) => batch.index === i + 1);
}

const L2 = sessionsOf([0, 1, 2, 3, 4, 5], "L2");
const L1 = sessionsOf([6, 7, 8, 9, 10, 11], "L1");

test("NF-009 F-029 simulated sessions of mixed faults replay byte-identically at L2", () => {
  expect(L2.found.length).toBeGreaterThan(12);
  expect(L2.faults).toBeGreaterThan(20);
  let byEffects = 0;
  for (const one of L2.found) {
    const run = runToEnd(new Playback(one.source));
    expect([one.name, run.stepDivergences]).toEqual([one.name, []]);
    if (!whole(one)) continue;
    expect([one.name, run.steps, run.reference === null]).toEqual([one.name, one.source.entries.length, false]);
    if (run.level === "effects") byEffects += 1;
  }
  expect(byEffects).toBeGreaterThan(5);
});

test("NF-009 F-151 simulated sessions replay decision-stable over handles at L1, and as their own records tell", () => {
  expect(L1.found.length).toBeGreaterThan(12);
  for (const one of L1.found) {
    const run = runToEnd(new Playback(one.source));
    expect([one.name, run.level, run.stepDivergences]).toEqual([one.name, "handles", []]);
    if (one.damaged || !whole(one) || !one.recording.ended) continue;
    const report = diffTimelines(timelineOfRecording(one.recording), run.replayed);
    const decisive = report.divergences.filter(({ class: kind }) => kind !== "TIMING");
    expect([one.name, decisive]).toEqual([one.name, []]);
  }
});

test("F-072 F-151 a rerun of simulated sessions by the same version is the recorded one", () => {
  for (const one of [...L2.found, ...L1.found].filter(whole).slice(0, 20)) {
    const run = runToEnd(new Rerun(one.source, { mode: "recorded" }));
    expect([one.name, run.identical, reportOf(run).verdict]).toEqual([one.name, true, "same"]);
  }
});

test("F-152 F-077 a changed outcome in a simulated session is found, and the replay goes on behind it", () => {
  const session = L1.found.find(whole);
  if (session === undefined) throw new Error("no whole session");
  const entries = structuredClone(session.source.entries) as typeof session.source.entries;
  const [outcome] = entries.flatMap(({ batch }) => batch.inputs).filter(({ body }) => body.type === "provider_outcome");
  if (outcome?.body.type !== "provider_outcome") throw new Error("no outcome");
  outcome.body.outcome = outcome.body.outcome === "success" ? "error" : "success";
  const run = runToEnd(new Playback({ ...session.source, entries }));
  expect(run.identical).toBe(false);
  expect(run.steps).toBe(entries.length);
  expect(reportOf(run).ok).toBe(false);
  expect(canonicalJson(run.stepDivergences)).not.toBe("[]");
});
