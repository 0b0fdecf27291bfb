/** The seven safety gates over a real recording, whole and then spoilt in each way that must not pass. */
import type { SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { SealedEvidence } from "@rspp/kernel/evidence";
import { type GateSession, gateFacts } from "@rspp/replay/gates/facts";
import { SAMPLES_MIN, safetyGates } from "@rspp/replay/gates/safety";
import type { SafetyGateName, SafetyResult } from "@rspp/replay/gates/types";
import type { Recording } from "@rspp/replay/re-execute";
import { recordingsOf } from "@rspp/replay/recording";
import { listSessions } from "@rspp/runtime/spool/reader";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { beforeAll, describe, expect, test } from "vitest";
import { localRecords } from "../timeline/local-records.ts";
import { sessionsOf } from "./recordings.ts";
import { simulateCalls } from "./simulated.ts";

let good: GateSession[] = [];
let spool: SpoolStore | null = null;

beforeAll(async () => {
  spool = await simulateCalls([1, 2, 3, 4]);
  const whole = sessionsOf(spool, [], "memory");
  // Of the journal only what is looked at: it is copied for every test.
  const reports = (run: Recording): Recording => ({
    ...run,
    entries: run.entries.filter(({ batch }) => batch.inputs.some(({ body }) => body.type === "delivery")),
  });
  good = whole.map((session) => ({ ...session, runs: session.runs.map(reports) }));
}, 60_000);

interface Marker {
  name: string;
  fields: Record<string, string>;
}

/** A copy of the good recording, spoilt. */
function spoilt(spoil: (session: GateSession) => void): GateSession[] {
  const copy = structuredClone(good);
  const [first] = copy;
  if (first !== undefined) spoil(first);
  return copy;
}

function judged(sessions: readonly GateSession[], gate: SafetyGateName): SafetyResult {
  const found = safetyGates(gateFacts(sessions)).find((result) => result.gate === gate);
  if (found === undefined) throw new Error(`no gate ${gate}`);
  return found;
}

function anchorsOf(sessions: readonly GateSession[], anchor: string): Record<string, string>[] {
  return sessions
    .flatMap(({ runs }) => runs.flatMap(({ records }) => records.map(({ content }) => content as Marker)))
    .filter(({ name, fields }) => name === "turn_anchors" && fields[anchor] !== undefined)
    .map(({ fields }) => fields);
}

/** Another value for an anchor of one turn, or of all. */
function withAnchor(anchor: string, change: (fields: Record<string, string>) => void, all = false): GateSession[] {
  const copy = structuredClone(good);
  for (const fields of anchorsOf(copy, anchor).slice(0, all ? undefined : 1)) change(fields);
  return copy;
}

const later = (fields: Record<string, string>, anchor: string, from: string, ms: number): void => {
  fields[anchor] = String(Number(fields[from]) + ms * 1e6);
};

const latencies: readonly (readonly [string, SafetyGateName, string, string, number])[] = [
  ["NF-024", "turn_open", "turn_open_proposed_ingress_accepted", "turn_open_emitted", 120],
  ["NF-025", "first_output", "turn_open_emitted", "first_datalane_output_emitted", 1_500],
  ["NF-026", "cancel_fence", "cancel_accepted", "cancel_fence_applied", 150],
  ["NF-038", "end_to_end", "audio_input_ingress", "assistant_audio_playback_started", 2_000],
];

describe.each(latencies)("%s gate %s", (id, gate, from, to, barMs) => {
  test(`${id} passes over a good recording, with enough samples`, () => {
    const result = judged(good, gate);
    expect(result).toMatchObject({ verdict: "pass", reasons: [], feature: id });
    expect(result.figures.samples).toBeGreaterThanOrEqual(SAMPLES_MIN);
  });

  test(`${id} fails where either anchor of one turn is missing`, () => {
    for (const anchor of [from, to]) {
      const result = judged(
        withAnchor(anchor, (fields) => delete fields[anchor]),
        gate,
      );
      expect(result.verdict).toBe("fail");
      expect(result.reasons.join()).toContain(`anchor ${anchor} is missing`);
    }
  });

  test(`${id} fails where an anchor is negative, out of order or no number`, () => {
    for (const wrong of ["-5", "nonsense", ""]) {
      const result = judged(
        withAnchor(to, (fields) => void Object.assign(fields, { [to]: wrong })),
        gate,
      );
      expect(result).toMatchObject({ verdict: "fail", figures: { faulty_anchors: 1 } });
      expect(result.reasons.join()).toContain(`anchor ${to} is impossible`);
    }
    const result = judged(
      withAnchor(to, (fields) => later(fields, to, from, -1)),
      gate,
    );
    expect(result.verdict).toBe("fail");
    expect(result.reasons.join()).toContain(`anchor ${to} is impossible: 1 ms before ${from}`);
  });

  test(`${id} passes at its bar and fails above it`, () => {
    const at = (ms: number) =>
      judged(
        withAnchor(to, (fields) => later(fields, to, from, ms), true),
        gate,
      );
    const p95 = (result: SafetyResult) => result.checks.find(({ name }) => name === "p95_ms");
    expect(p95(at(barMs))).toMatchObject({ ok: true, bar: barMs, found: barMs });
    expect(p95(at(barMs + 1))).toMatchObject({ ok: false });
    expect(at(barMs + 1).verdict).toBe("fail");
  });

  test(`${id} fails with too few samples, and says how many there are`, () => {
    const result = judged(good.slice(0, 1), gate);
    expect(result.verdict).toBe("fail");
    expect(result.reasons.join()).toMatch(/too few samples: \d+ of 20/);
  });
});

test("NF-038 half of the answers above 1.5 s fail by P50, though P95 is within its bar", () => {
  const to = "assistant_audio_playback_started";
  const result = judged(
    withAnchor(to, (fields) => later(fields, to, "audio_input_ingress", 1_501), true),
    "end_to_end",
  );
  expect(result.checks.map(({ name, ok }) => `${name} ${ok}`)).toEqual(["p50_ms false", "p95_ms true"]);
  expect(result.verdict).toBe("fail");
});

test("NF-024 NF-025 anchors recorded twice for one turn are believed neither time", () => {
  const doubled = spoilt(({ runs }) => {
    for (const run of runs) {
      const marker = run.records.find(({ content }) => (content as Marker).name === "turn_anchors");
      if (marker !== undefined) (run.records as unknown[]).push(marker);
    }
  });
  expect(judged(doubled, "turn_open").reasons.join()).toContain("recorded twice");
  expect(judged(doubled, "first_output").verdict).toBe("fail");
});

describe("NF-027 stale epochs", () => {
  const signals = ({ runs }: GateSession): SignalEvent[] => runs.flatMap((run) => run.signals as SignalEvent[]);
  const accepted = (session: GateSession): SignalEvent => {
    const found = signals(session).find(({ signal }) => signal === "output_accepted");
    if (found === undefined) throw new Error("no output");
    return found;
  };

  test("NF-027 none in a good recording", () => {
    expect(judged(good, "stale_epoch")).toMatchObject({ verdict: "pass", figures: { stale_outputs: 0 } });
  });

  test("NF-027 one output accepted under an epoch below the one in force fails it", () => {
    const result = judged(
      spoilt((session) => void Object.assign(accepted(session), { epoch: 0 })),
      "stale_epoch",
    );
    expect(result).toMatchObject({ verdict: "fail", figures: { stale_outputs: 1 } });
    expect(result.reasons.join()).toContain("under epoch 0 while 1 was in force");
  });

  test("NF-027 a report of an older epoch that was taken fails it, though its signal says otherwise", () => {
    const result = judged(
      spoilt(({ runs }) => {
        const inputs = runs.flatMap(({ entries }) => entries.flatMap(({ batch }) => batch.inputs));
        for (const { body } of inputs) if (body.type === "delivery") Object.assign(body, { epoch: 0 });
      }),
      "stale_epoch",
    );
    expect(result.verdict).toBe("fail");
    expect(result.reasons.join()).toContain("by a report of epoch 0");
  });

  test("NF-027 a turn opened under an old epoch after a newer one was in force fails it", () => {
    const result = judged(
      spoilt(({ runs }) => {
        const evidence = recordsOf(runs, "evidence") as { manifest: SealedEvidence }[];
        const manifest = evidence[0]?.manifest.manifest;
        if (manifest !== undefined) manifest.epochAtOpen = 2;
      }),
      "stale_epoch",
    );
    expect(result.verdict).toBe("fail");
    expect(result.reasons.join()).toContain("opened under epoch 1 after");
  });
});

const recordsOf = (runs: GateSession["runs"], kind: string): TimelineRecord[] =>
  runs.flatMap(({ records }) => records.map(({ content }) => content as TimelineRecord)).filter((r) => r.kind === kind);

function without(session: GateSession, kind: string): void {
  for (const run of session.runs) {
    const at = run.records.findIndex(({ content }) => (content as TimelineRecord).kind === kind);
    (run.records as unknown[]).splice(at, 1);
  }
}

describe("NF-028 complete evidence", () => {
  test("NF-028 a good recording has all of it", () => {
    const result = judged(good, "complete_evidence");
    expect(result).toMatchObject({ verdict: "pass", figures: { declared_lost: 0 } });
    expect(result.figures.complete).toBe(result.figures.turns);
  });

  const fields = "tenantId planHash epochAtOpen opened terminal closed snapshots seed invocations recordingLevel";

  test.each(fields.split(" "))("NF-028 %s taken out of one turn's evidence fails it", (field) => {
    const taken = spoilt(({ runs }) => {
      const [record] = recordsOf(runs, "evidence") as { manifest: SealedEvidence }[];
      if (record !== undefined) Object.assign(record.manifest.manifest, { [field]: null });
    });
    const result = judged(taken, "complete_evidence");
    expect(result.verdict).toBe("fail");
    expect(result.checks[0]?.found).toBeLessThan(100);
  });

  test.each(["evidence", "delivery_addendum"])("NF-028 one %s that is not there fails it", (kind) => {
    const result = judged(
      spoilt((session) => without(session, kind)),
      "complete_evidence",
    );
    expect(result.verdict).toBe("fail");
    expect(result.reasons[0]).toMatch(/no (evidence|delivery addendum) is recorded/);
  });

  test("NF-028 a loss that the record declares is counted apart", () => {
    const lost = spoilt((session) => {
      without(session, "evidence");
      const records = session.runs[0]?.records as unknown[] | undefined;
      records?.push({ content: { kind: "evidence_lost", lost: [{ turn: 1 }] } });
    });
    expect(judged(lost, "complete_evidence")).toMatchObject({ verdict: "pass", figures: { declared_lost: 1 } });
  });

  test("NF-028 damage of a recording fails every gate, with the damage as the reason", () => {
    const [first, ...others] = good;
    if (first === undefined) throw new Error("no session");
    const results = safetyGates(gateFacts([{ ...first, problems: ["a flipped bit"] }, ...others]));
    expect(results.map(({ verdict }) => verdict)).toEqual(results.map(() => "fail"));
    expect(results.every(({ reasons }) => reasons[0]?.includes("a flipped bit"))).toBe(true);
  });
});

describe("NF-029 one terminal, then close", () => {
  const dropped = (signal: string) =>
    spoilt(({ runs }) => {
      const all = (runs[0]?.signals ?? []) as SignalEvent[];
      all.splice(
        all.findIndex((one) => one.signal === signal),
        1,
      );
    });

  test("NF-029 every turn of a good recording ends so", () => {
    expect(judged(good, "one_terminal")).toMatchObject({ verdict: "pass", checks: [{ found: 100 }] });
  });

  test.each(["commit", "close"])("NF-029 a turn without its %s fails it", (signal) => {
    expect(judged(dropped(signal), "one_terminal").verdict).toBe("fail");
  });

  test("NF-029 a second terminal, and a terminal after close, fail it", () => {
    const second = spoilt(({ runs }) => {
      const all = (runs[0]?.signals ?? []) as SignalEvent[];
      const commit = all.find(({ signal }) => signal === "commit");
      if (commit !== undefined) all.push({ ...commit, signal: "abort" });
    });
    const result = judged(second, "one_terminal");
    expect(result.verdict).toBe("fail");
    expect(result.reasons.join()).toContain("ends with commit, close, abort");
  });
});

test("NF-024 NF-029 without any recording no gate passes", () => {
  expect(safetyGates(gateFacts([])).map(({ verdict }) => verdict)).toEqual(Array(7).fill("fail"));
});

test("NF-024 NF-038 the timeline, as exported, gives the verdicts and figures of the spool", {
  timeout: 60_000,
}, () => {
  if (spool === null) throw new Error("no spool");
  const store = spool;
  const exported = listSessions(store).map(({ sessionId, tenantId }) => {
    const { runs, problems } = recordingsOf(localRecords(store, sessionId, tenantId));
    return { sessionId, runs, problems };
  });
  expect(safetyGates(gateFacts(exported))).toEqual(safetyGates(gateFacts(good)));
});
