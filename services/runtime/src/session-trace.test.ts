import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { readTraceparent } from "@rspp/telemetry/spans";
import { type RecordedSpan, RecordedSpans } from "@rspp/telemetry/testing/recorded-spans";
import { describe, expect, test } from "vitest";
import { safeReason } from "./session-trace-reasons.ts";
import { type Bench, bench } from "./testing/bench.ts";

const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

function traced(): { spans: RecordedSpans; b: Bench } {
  const spans = new RecordedSpans();
  return { spans, b: bench({ telemetry: { metrics: new MetricRegistry(), spans } }) };
}

/** One trace, every span ended, after its start and not before its parent's; invocations, nodes and turns within theirs. */
function expectSound(spans: RecordedSpans): void {
  const bySpan = new Map(spans.all.map((span) => [readTraceparent(span.traceparent)?.spanId, span]));
  expect(new Set(spans.all.map((span) => readTraceparent(span.traceparent)?.traceId)).size).toBe(1);
  for (const span of spans.all) {
    expect(span.endMs, `${span.name} is over`).toBeGreaterThanOrEqual(span.startMs);
    const parent = bySpan.get(readTraceparent(span.parent)?.spanId);
    if (span.name === "rspp.session") continue;
    expect(parent, `${span.name} has its parent`).toBeDefined();
    expect(span.startMs, `${span.name} starts in ${parent?.name}`).toBeGreaterThanOrEqual(parent?.startMs ?? 0);
    expect(span.endMs, `${span.name} ends in ${parent?.name}`).toBeLessThanOrEqual(parent?.endMs ?? 0);
    for (const event of span.events) {
      expect(event.atMs, `${event.name} in ${span.name}`).toBeGreaterThanOrEqual(span.startMs);
      expect(event.atMs, `${event.name} in ${span.name}`).toBeLessThanOrEqual(span.endMs);
    }
  }
}

const under = (spans: RecordedSpans, parent: RecordedSpan | undefined) =>
  spans.all.filter((span) => span.parent === parent?.traceparent);
const eventNames = (span: RecordedSpan | undefined) => span?.events.map((event) => event.name) ?? [];

describe("F-070 F-013 NF-008 the trace of a session", () => {
  test("a turn with its anchors, a span per node and per provider call, the same ids on all of them", async () => {
    const { spans, b } = traced();
    const { session, line } = b.open({});
    await b.talk(line, 20, 20);
    await b.until(() => line.sent.some((m) => m.kind === "media" && m.end));
    await b.pass(20_000);
    session.operator("end", { reason: "done" });
    await session.ended;
    expectSound(spans);
    const [root] = spans.named("rspp.session");
    const [turn, ...more] = spans.named("rspp.turn");
    expect(more).toEqual([]);
    expect(turn?.parent).toBe(root?.traceparent);
    expect(turn?.attributes).toMatchObject({
      "rspp.session_id": session.id,
      "rspp.pipeline": "test-assistant@1",
      "rspp.turn": 1,
      "rspp.outcome": "commit",
    });
    expect(eventNames(turn)).toEqual(
      expect.arrayContaining([
        "audio_input_ingress",
        "turn_open_proposed_ingress_accepted",
        "turn_open_emitted",
        "first_datalane_output_emitted",
        "assistant_audio_playback_started",
        "commit",
        "close",
      ]),
    );
    const children = under(spans, turn);
    const nodes = children.filter((span) => span.name.startsWith("rspp.node"));
    expect(nodes.map((span) => span.attributes["rspp.node_id"]).sort()).toEqual(
      ["context", "llm", "segmenter", "speaker", "tts"].sort(),
    );
    for (const span of nodes) expect(eventNames(span), span.name).toContain("first_output");
    const calls = children.filter((span) => span.name.startsWith("rspp.invocation"));
    expect(calls.map((span) => span.attributes["rspp.provider"])).toEqual(["sim/stt", "sim/llm", "sim/tts"]);
    for (const span of calls) {
      expect(span.attributes).toMatchObject({ "rspp.session_id": session.id, "rspp.outcome": "success" });
      expect(span.attributes["rspp.invocation_id"]).toMatch(/^inv_1_\d+$/);
      expect(eventNames(span)).toEqual(["first_output"]);
    }
    expect(children).toHaveLength(nodes.length + calls.length);
  });

  test("the opener's span is the parent, and each provider is called with its own span's traceparent", async () => {
    const { spans, b } = traced();
    const asked: (string | undefined)[] = [];
    const { open } = b.providers;
    b.providers.open = (request, sink) => {
      asked.push(request.headers?.traceparent);
      return open(request, sink);
    };
    const { session, line } = b.open({}, {}, caller);
    await b.talk(line, 20, 20);
    await b.until(() => line.signals().includes("commit/1"));
    session.operator("end");
    await session.ended;
    expect(spans.named("rspp.session")[0]?.parent).toBe(caller);
    expect(readTraceparent(spans.all[0]?.traceparent)?.traceId).toBe(readTraceparent(caller)?.traceId);
    const calls = spans.all.filter((span) => span.name.startsWith("rspp.invocation"));
    expect(asked).toEqual(calls.map((span) => span.traceparent));
    expect(asked).toHaveLength(3);
    expectSound(spans);
  });

  test("a barge-in: the cut turn is cancelled with its anchors, the next is another span, all of it is sound", async () => {
    const { spans, b } = traced();
    const { session, line } = b.open({});
    await b.talk(line, 20, 20);
    await b.until(() => line.played.length > 10);
    await b.talk(line, 20, 20);
    await b.until(() => line.signals().includes("close/2"));
    await b.pass(30_000);
    session.operator("end", { reason: "done" });
    await session.ended;
    expectSound(spans);
    const [first, second] = spans.named("rspp.turn");
    expect(eventNames(first)).toEqual(expect.arrayContaining(["barge_in", "cancel_accepted", "cancel_fence_applied"]));
    expect(second?.attributes["rspp.turn"]).toBe(2);
    expect(under(spans, second).some((span) => span.attributes["rspp.modality"] === "stt")).toBe(true);
  });

  test("a noise is an utterance without a turn; what is open when the session is cut off is ended with it", async () => {
    const { spans, b } = traced();
    const { session, line } = b.open({});
    await b.talk(line, 2, 10);
    await b.talk(line, 20, 20);
    await b.until(() => line.played.length > 3);
    await b.runtime.close();
    await session.ended;
    expectSound(spans);
    const [noise] = spans.named("rspp.utterance");
    expect(noise?.attributes["rspp.outcome"]).toBe("no_turn");
    expect(under(spans, noise).map((span) => span.attributes["rspp.outcome"])).toEqual(["cancelled"]);
    expect(spans.named("rspp.session")).toHaveLength(1);
  });

  test("reasons of clients and operators are told as other", () => {
    expect([safeReason("barge_in"), safeReason("sk-live-123"), safeReason("")]).toEqual(["barge_in", "other", ""]);
  });
});
