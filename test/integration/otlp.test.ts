import { execFileSync } from "node:child_process";
import { openTelemetry } from "@rspp/telemetry/open-telemetry";
import { createRpcTracer } from "@rspp/telemetry/rpc-tracer";
import { readTraceparent } from "@rspp/telemetry/spans";
import type { Telemetry } from "@rspp/telemetry/telemetry";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Collector, type ReceivedSpan, startCollector } from "./otlp-collector.ts";
import { createRig, openCall, type Rig, simConfig, speech } from "./rig.ts";

const config = { otlp: "", trace_sample_percent: 100, otlp_metrics_every_ms: 3_600_000 };
const who = { service: "runtime", instanceId: "runtime-1", build: "1.2.3" };
let collector: Collector;
beforeEach(async () => {
  collector = await startCollector();
});
afterEach(() => collector.close());

/** One question and its answer, in a session whose opener called over RPC. */
async function oneCall(telemetry: Telemetry, sessionId: string): Promise<{ rig: Rig; opener: string }> {
  const headers = new Headers();
  const opening = telemetry.rpc.start({ side: "client", service: "rspp.x.v1.Opener", method: "Open", headers });
  const rig = createRig({ telemetry });
  const traceparent = headers.get("traceparent") ?? "";
  const call = openCall(
    rig,
    simConfig(sessionId, { stt: { transcripts: ["what time is it"] }, llm: { text: "It is noon." } }),
    traceparent,
  );
  call.line.speak(speech(600));
  await rig.until(() => call.line.deliveries().some((d) => d.turn === 1 && d.phase === "completed"));
  call.line.end();
  await rig.until(() => rig.runtime.session(call.session.config) === null);
  opening.end(null);
  return { rig, opener: traceparent };
}

/** No span before its parent, none negative, and every parent is there. */
function expectSound(spans: readonly ReceivedSpan[]): void {
  const known = new Map(spans.map((span) => [span.spanId, span]));
  for (const span of spans) {
    expect(span.endNs >= span.startNs, `${span.name} is not negative`).toBe(true);
    if (span.parentSpanId === "") continue;
    const parent = known.get(span.parentSpanId);
    expect(parent, `${span.name} has its parent`).toBeDefined();
    // The opener's span runs on the wall clock, the session's on the rig's.
    if (span.name === "rspp.session" || parent === undefined) continue;
    expect(span.startNs >= parent.startNs, `${span.name} starts in ${parent.name}`).toBe(true);
    expect(span.endNs <= parent.endNs, `${span.name} ends in ${parent.name}`).toBe(true);
  }
}

describe("OTLP over HTTP", () => {
  test("F-070 F-013 NF-008 a session's trace arrives: a span per node and provider call, linked to its opener", async () => {
    const telemetry = await openTelemetry({ ...who, env: {}, config: { ...config, otlp: `${collector.url}/` } });
    const { opener } = await oneCall(telemetry, "call-1");
    await telemetry.close();
    expect(new Set(collector.requests.map(({ type }) => type))).toEqual(new Set(["application/x-protobuf"]));
    const { spans } = collector;
    expectSound(spans);
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([readTraceparent(opener)?.traceId]));
    const [session] = spans.filter((span) => span.name === "rspp.session");
    expect(session?.parentSpanId).toBe(readTraceparent(opener)?.spanId);
    expect(session?.resource).toEqual({
      "service.namespace": "rspp",
      "service.name": "runtime",
      "service.instance.id": "runtime-1",
      "service.version": "1.2.3",
    });
    const [turn] = spans.filter((span) => span.name === "rspp.turn");
    expect(turn?.parentSpanId).toBe(session?.spanId);
    expect(turn?.events.map((event) => event.name)).toEqual(
      expect.arrayContaining([
        "turn_open_emitted",
        "first_datalane_output_emitted",
        "assistant_audio_playback_started",
      ]),
    );
    const under = spans.filter((span) => span.parentSpanId === turn?.spanId);
    const calls = under.filter((span) => span.name.startsWith("rspp.invocation"));
    expect(calls.map((span) => span.attributes["rspp.provider"]).sort()).toEqual(["sim/llm", "sim/stt", "sim/tts"]);
    expect(new Set(calls.map((span) => span.kind))).toEqual(new Set([3]));
    const nodes = under.filter((span) => span.name.startsWith("rspp.node"));
    expect(nodes.map((span) => span.attributes["rspp.node_kind"]).sort()).toEqual(
      ["context", "llm", "output", "segmenter", "tts"].sort(),
    );
    for (const span of [...calls, ...nodes])
      expect(span.attributes).toMatchObject({ "rspp.session_id": "call-1", "rspp.pipeline": expect.any(String) });
  });

  test("F-068 F-069 the metrics arrive under the names of /metrics, with the same values", async () => {
    const telemetry = await openTelemetry({ ...who, env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }, config });
    await oneCall(telemetry, "call-2");
    const text = (await telemetry.prometheus()) ?? "";
    await telemetry.close();
    const runs = [...collector.points.values()].filter((point) => point.name === "rspp_node_run_seconds");
    expect(runs.length).toBeGreaterThan(4);
    for (const { attributes, value, unit } of runs) {
      expect(unit).toBe("s");
      expect(text).toContain(
        `rspp_node_run_seconds_count{node="${attributes.node}",kind="${attributes.kind}"} ${value}`,
      );
    }
    const opened = [...collector.points.values()].find((point) => point.name === "rspp_sessions_opened_total");
    expect(opened).toMatchObject({ kind: "sum", value: 1 });
    for (const line of text.split("\n")) expect(line).not.toContain("call-2");
  });

  test("NF-008 sampling: none kept is none sent, but a caller's sampled trace goes on", async () => {
    const of = { ...config, otlp: collector.url, trace_sample_percent: 0 };
    const telemetry = await openTelemetry({ ...who, env: {}, config: of });
    const { opener } = await oneCall(telemetry, "call-3");
    expect(readTraceparent(opener)?.sampled).toBe(false);
    const tracer = createRpcTracer({ spans: telemetry.spans, metrics: telemetry.metrics });
    const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const headers = new Headers({ traceparent: sampled });
    tracer.start({ side: "server", service: "rspp.x.v1.X", method: "Y", headers }).end(null);
    await telemetry.close();
    expect(collector.spans.map((span) => span.traceId)).toEqual([readTraceparent(sampled)?.traceId]);
  });

  test("a collector that takes nothing is said once, counted, and holds nobody up at the end", async () => {
    collector.status = 400;
    const warned: string[] = [];
    const log = { isLevelEnabled: () => true, debug: () => undefined, info: () => undefined, error: () => undefined };
    const telemetry = await openTelemetry({
      ...who,
      env: {},
      config: { ...config, otlp: collector.url },
      log: { ...log, warn: (_, message) => void warned.push(message) },
    });
    await oneCall(telemetry, "call-4");
    const begunMs = performance.now();
    await telemetry.close();
    expect(performance.now() - begunMs).toBeLessThan(5_000);
    expect(warned).toHaveLength(1);
    const failures = telemetry.metrics
      .collect()
      .find(({ family }) => family.definition.name.includes("export_failures"));
    expect(failures?.family.series().length).toBeGreaterThan(0);
    expect(collector.bodies).toEqual([]);
  });

  test("without a collector the SDK is not loaded, and /metrics is answered all the same", () => {
    const code = `
      import { registerHooks } from "node:module";
      const loaded = [];
      registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
      const { openTelemetry } = await import("@rspp/telemetry/open-telemetry");
      const telemetry = await openTelemetry({ service: "t", instanceId: "t", build: "t", env: {}, config: ${JSON.stringify(config)} });
      const text = await telemetry.prometheus();
      const sdk = loaded.filter((url) => url.includes("/@opentelemetry/"));
      console.log(JSON.stringify({ own: loaded.length > 5, sdk, spans: telemetry.spans, text: text.startsWith("# HELP") }));
    `;
    const said = execFileSync(process.execPath, ["--input-type=module", "-e", code], {
      cwd: new URL("../../services/runtime", import.meta.url),
    });
    expect(JSON.parse(String(said))).toEqual({ own: true, sdk: [], spans: null, text: true });
  });
});
