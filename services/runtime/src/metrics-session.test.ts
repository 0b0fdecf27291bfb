import { replayJournal } from "@rspp/kernel/replay";
import { createLog } from "@rspp/rpc/log";
import { describe, expect, test } from "vitest";
import type { EventKind, ObservedEvent } from "./observers.ts";
import { type Bench, bench } from "./testing/bench.ts";

interface Run {
  readonly b: Bench;
  readonly events: ObservedEvent[];
  /** What the session did, and all that left it. */
  readonly journal: string;
  readonly sent: string;
  readonly records: string;
  readonly identical: boolean;
}

/** A question, a barge-in into its answer, the answer to that. */
async function run(
  kinds: readonly EventKind[],
  options: Parameters<typeof bench>[0] & { debug?: boolean } = {},
): Promise<Run> {
  const { debug = false, ...rest } = options;
  const b = bench(rest);
  const { session, line } = b.open({ debugEvents: debug });
  const events: ObservedEvent[] = [];
  const take = session.events.subscribe({
    kinds,
    onReady: (s) => {
      for (let event = s.take(); event !== undefined; event = s.take()) events.push(event);
    },
  });
  await b.talk(line, 20, 20);
  await b.until(() => line.played.length > 10);
  await b.talk(line, 20, 20);
  await b.until(() => line.signals().includes("close/2"));
  await b.pass(30_000);
  session.operator("end", { reason: "done" });
  await session.ended;
  take?.close();
  return {
    b,
    events,
    journal: JSON.stringify(session.journal()),
    sent: JSON.stringify(line.sent, (_, value) => (value instanceof Uint8Array ? value.length : value)),
    records: JSON.stringify(b.spool.readSession(session.id).runs[0]?.records.map((r) => [r.kind, r.content])),
    identical: replayJournal(session.config, session.journal()).identical,
  };
}

const of = <K extends EventKind>(events: readonly ObservedEvent[], kind: K) =>
  events.filter((event): event is Extract<ObservedEvent, { kind: K }> => event.kind === kind);

describe("in-band metrics and debug events", () => {
  test("F-026 latency and queue depth, tagged with node and edge, for a session that asks", async () => {
    const { events } = await run(["metrics"]);
    const metrics = of(events, "metrics");
    const tagged = (name: string) => metrics.filter((m) => m.name === name);
    expect(new Set(tagged("node_run_ms").map((m) => m.node))).toEqual(
      new Set(["context", "llm", "segmenter", "tts", "speaker"]),
    );
    expect(new Set(tagged("provider_first_output_ms").map((m) => m.node))).toEqual(new Set(["stt", "llm", "tts"]));
    expect(new Set(tagged("edge_depth_items").map((m) => m.edge))).toEqual(
      new Set(["e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9"]),
    );
    expect(Math.max(...tagged("edge_depth_high_items").map((m) => m.value))).toBeGreaterThan(0);
    expect(tagged("cancel_fence_ms")).toHaveLength(1);
    expect(tagged("node_cancel_ms").every((m) => m.node !== "" && m.value >= 0)).toBe(true);
    for (const m of metrics) {
      expect(m.name).toMatch(/_(?:ms|ns|items|total|version|lost|dropped|short|empty|event|rebased|ignored)$/);
      expect(Number.isFinite(m.value), m.name).toBe(true);
    }
  });

  test("F-027 without asking there are no debug events; asking adds them and changes nothing else", async () => {
    const plain = await run(["control"]);
    const asked = await run(["control", "debug", "metrics"]);
    const flagged = await run(["control", "debug"], { debug: true });
    expect(of(plain.events, "debug")).toEqual([]);
    expect(of(plain.events, "metrics")).toEqual([]);
    expect(of(asked.events, "debug").length).toBeGreaterThan(100);
    for (const other of [asked, flagged]) {
      expect(of(other.events, "control")).toEqual(of(plain.events, "control"));
      expect(other.journal).toBe(plain.journal);
      expect(other.sent).toBe(plain.sent);
    }
    expect(asked.records).toBe(plain.records);
    expect([plain, asked, flagged].map((r) => r.identical)).toEqual([true, true, true]);
  });

  test("F-070 a session that is traced does the same as one that is not", async () => {
    const { RecordedSpans } = await import("@rspp/telemetry/testing/recorded-spans");
    const { MetricRegistry } = await import("@rspp/telemetry/metric-registry");
    const plain = await run(["control"]);
    const traced = await run(["control"], { telemetry: { metrics: new MetricRegistry(), spans: new RecordedSpans() } });
    expect([traced.journal, traced.sent, traced.records]).toEqual([plain.journal, plain.sent, plain.records]);
  });
});

const lineSchema: Readonly<Record<string, (value: unknown) => boolean>> = {
  level: (v) => ["debug", "info", "warn", "error"].includes(String(v)),
  time: (v) => !Number.isNaN(Date.parse(String(v))),
  service: (v) => v === "runtime",
  instance: (v) => v === "runtime-1",
  msg: (v) => typeof v === "string" && v.length > 0,
  session_id: (v) => v === "session-1",
  pipeline: (v) => v === "test-assistant@1",
  tenant_id: (v) => v === "tenant-a",
  turn: (v) => Number.isSafeInteger(v),
  turn_id: (v) => typeof v === "string" && v.length > 0,
  node_id: (v) => ["vad", "stt", "llm", "tts"].includes(String(v)),
  invocation_id: (v) => /^inv_\d+_\d+$/.test(String(v)),
  provider: (v) => String(v).startsWith("sim/"),
  modality: (v) => ["stt", "llm", "tts"].includes(String(v)),
  outcome: (v) => typeof v === "string",
  reason: (v) => typeof v === "string",
  phase: (v) => ["connecting", "active", "draining", "ended"].includes(String(v)),
  reconnecting: (v) => typeof v === "boolean",
  degraded: (v) => typeof v === "boolean",
  forced: (v) => typeof v === "boolean",
  level_of_recording: (v) => typeof v === "string",
  steps: Number.isSafeInteger,
  run_ms: Number.isSafeInteger,
  utterance: Number.isSafeInteger,
  invocations: Number.isSafeInteger,
};

test("F-067 F-013 every log line of a run is JSON with the ids of its session, turn, node and pipeline", async () => {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLog({ service: "runtime", instance: "runtime-1", level: "debug", destination });
  await run(["control"], { logger });
  const parsed = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  for (const line of parsed) {
    for (const key of ["level", "time", "service", "instance", "msg", "session_id", "pipeline"])
      expect(line, String(line.msg)).toHaveProperty(key);
    for (const [key, value] of Object.entries(line))
      expect(lineSchema[key]?.(value) ?? false, `${key} = ${JSON.stringify(value)} of "${line.msg}"`).toBe(true);
    // Where a turn or a node is meant, it is named.
    if (/^(?:turn|invocation)/.test(String(line.msg))) expect(line).toHaveProperty("turn");
    if (String(line.msg).startsWith("invocation")) expect(line).toHaveProperty("node_id");
  }
  const said = (msg: string) => parsed.filter((line) => line.msg === msg);
  expect(said("turn closed").map((line) => [line.turn, line.outcome])).toEqual([
    [1, expect.stringMatching(/commit|abort/)],
    [2, "commit"],
  ]);
  expect(said("invocation ended").map((line) => line.node_id)).toEqual(expect.arrayContaining(["stt", "llm", "tts"]));
});
