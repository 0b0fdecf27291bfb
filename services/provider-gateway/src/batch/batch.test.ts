import type { Invocation } from "@rspp/ports/provider";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { expect, test } from "vitest";
import { createProviderGateway } from "../gateway.ts";
import { createSimBatch, type SimBatchOptions } from "../sim/batch.ts";
import { ManualClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { type Recorder, recorder, request } from "../testing/recorder.ts";
import { CALL_SIZE_MAX } from "./collector.ts";

type Over = Partial<ReturnType<typeof request>>;

function setUp(options: Partial<SimBatchOptions> = {}) {
  const clock = new ManualClock();
  const sent: string[] = [];
  const onRequest = (sessions: readonly string[]) => {
    sent.push(`${clock.nowNs() / 1e6}: ${sessions.join(" ")}`);
  };
  const metrics = new MetricRegistry();
  const gateway = createProviderGateway({
    clock,
    providers: [createSimBatch({ clock, onRequest, ...options })],
    metrics,
  });
  const begin = (sessionId: string, over: Over = {}): { sink: Recorder; call: Invocation } => {
    const sink = recorder();
    const call = gateway.open(request({ modality: "llm", provider: "sim/batch", sessionId, ...over }), sink);
    call.push({ kind: "messages", messages: [{ role: "user", text: `of ${sessionId}` }] });
    return { sink, call };
  };
  const ask = (sessionId: string, over: Over = {}) => {
    const asked = begin(sessionId, over);
    asked.call.finish();
    return asked;
  };
  const series = (name: string) =>
    metrics
      .collect()
      .find(({ family }) => family.definition.name === name)
      ?.family.series() ?? [];
  return { clock, gateway, sent, begin, ask, series };
}

const kinds = (...sinks: Recorder[]) => sinks.map(({ outcomes }) => outcomes.map(({ kind }) => kind).join());

test("F-051 calls within a window go in one request; each has its own answer and one outcome", () => {
  const { clock, ask, sent, series, gateway } = setUp();
  const a = ask("a");
  clock.advance(12);
  const b = ask("b");
  const c = ask("c");
  clock.advance(7);
  expect(sent).toEqual([]);
  clock.advance(1);
  expect(sent).toEqual(["20: a b c"]);
  clock.advance(20);
  expect([a, b, c].map(({ sink }) => sink.text())).toEqual(["of a", "of b", "of c"]);
  expect(kinds(a.sink, b.sink, c.sink)).toEqual(["success", "success", "success"]);
  expect(gateway.counters().outcomes.success).toBe(3);
  expect(series("rspp_provider_batches_total")).toMatchObject([{ labels: { because: "window" }, value: { value: 1 } }]);
  expect(series("rspp_provider_batched_calls_total")).toMatchObject([{ value: { value: 3 } }]);
  expect(series("rspp_provider_batch_wait_seconds")).toMatchObject([{ value: { count: 3 } }]);
  expect(clock.pending).toBe(0);
});

test("F-051 a full batch goes at once, the next call begins another window", () => {
  const { clock, ask, sent } = setUp({ itemsMax: 2 });
  for (const session of ["a", "b", "c"]) ask(session);
  expect(sent).toEqual(["0: a b"]);
  clock.advance(20);
  expect(sent).toEqual(["0: a b", "20: c"]);
});

test("F-051 no call waits into the time its own attempt needs, whoever has more", () => {
  const { clock, ask, begin, sent } = setUp({ windowMs: 100 });
  ask("patient", { attemptTimeoutMs: 1_000 });
  clock.advance(10);
  // 80 ms, of which 50 are for the answer: to be sent 30 ms after it was opened.
  ask("urgent", { attemptTimeoutMs: 80 });
  clock.advance(29);
  expect(sent).toEqual([]);
  clock.advance(1);
  expect(sent).toEqual(["40: patient urgent"]);
  // Its input took longer than it had to spare: sent as it is complete, with whoever waits.
  const slow = begin("slow", { attemptTimeoutMs: 90 });
  clock.advance(41);
  ask("other");
  slow.call.finish();
  expect(sent.at(-1)).toBe("81: other slow");
  ask("none to spare", { attemptTimeoutMs: 40 });
  expect(sent.at(-1)).toBe("81: none to spare");
});

test("F-051 another tenant's calls and other settings never share a request; the order of settings is nothing", () => {
  const { clock, ask, sent } = setUp();
  ask("a", { tenantId: "acme", settings: { model: "m", answer_ms: 5 } });
  ask("b", { tenantId: "globex", settings: { model: "m", answer_ms: 5 } });
  ask("c", { tenantId: "acme", settings: { answer_ms: 5, model: "m" } });
  ask("d", { tenantId: "acme", settings: { model: "n", answer_ms: 5 } });
  clock.advance(20);
  expect(sent).toEqual(["20: a c", "20: b", "20: d"]);
});

test("F-051 one that is cancelled, waiting or sent, harms no other and is told once", () => {
  const { clock, ask, sent, gateway } = setUp();
  const [a, b, c] = [ask("a"), ask("b"), ask("c")];
  a.call.cancel("barge_in");
  expect(kinds(a.sink)).toEqual(["cancelled"]);
  clock.advance(20);
  expect(sent).toEqual(["20: b c"]);
  b.call.cancel("barge_in");
  b.call.cancel("again");
  clock.advance(20);
  expect(kinds(a.sink, b.sink, c.sink)).toEqual(["cancelled", "cancelled", "success"]);
  expect(b.sink.chunks).toEqual([]);
  expect(gateway.counters()).toMatchObject({ chunksAfterTerminal: 0, outcomesAfterTerminal: 0 });
  const alone = ask("alone");
  alone.call.cancel("user_cancel");
  clock.advance(100);
  expect(sent.length).toBe(1);
  expect(clock.pending).toBe(0);
});

test("F-051 a provider that throws or is overloaded fails each of its batch once, and no later one", async () => {
  const { clock, ask, gateway } = setUp();
  const thrown = ["a", "b"].map((session) => ask(session, { settings: { fault: "throw" } }).sink);
  const over = ["c", "d"].map((session) => ask(session, { settings: { fault: "overload" } }).sink);
  clock.advance(40);
  expect(kinds(...thrown, ...over)).toEqual(["error", "error", "overload", "overload"]);
  expect(gateway.counters().threw).toBe(1);
  const well = ask("e").sink;
  clock.advance(40);
  expect(kinds(well)).toEqual(["success"]);
  const open = ask("f").sink;
  await gateway.close();
  expect(kinds(open)).toEqual(["cancelled"]);
  expect(clock.pending).toBe(0);
});

test("F-051 what a call holds until it is complete is bounded; one without input ends empty", () => {
  const { begin, gateway } = setUp();
  const large = begin("large");
  large.call.push({ kind: "text", text: "x".repeat(CALL_SIZE_MAX), segment: 0 });
  large.call.finish();
  expect(kinds(large.sink)).toEqual(["error"]);
  const sink = recorder();
  gateway.open(request({ modality: "llm", provider: "sim/batch" }), sink).finish();
  expect(kinds(sink)).toEqual(["empty"]);
});

describeConformance({
  create: (clock) => createSimBatch({ clock }),
  clock: "manual",
  settings: {},
  feed: (call) => call.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] }),
  badSetting: { name: "answer_ms", value: "soon" },
});
