import { connectRpc } from "@rspp/rpc/clients";
import { expect, onTestFinished, test } from "vitest";
import { startCollector } from "../integration/otlp-collector.ts";
import { pocketsphinx, startRspp, tempDir } from "./rspp.ts";
import { call, type PlatformLine, until } from "./up-rig.ts";

/** A platform of processes, all of them told of the same collector. */
async function upTraced(collector: string): Promise<{ platform: PlatformLine; stop(): Promise<void> }> {
  const flags = ["up", "--processes", "--gateway", "service", "--json", "--port-base", "0", "--data", tempDir()];
  const env = { RSPP_LOG_LEVEL: "warn", OTEL_EXPORTER_OTLP_ENDPOINT: collector };
  const running = startRspp(flags, { env });
  const [line] = await running.said(/^\{"ready":true,"service":"platform".*\}$/m);
  const stop = async (): Promise<void> => {
    running.child.kill("SIGTERM");
    await running.finished;
  };
  return { platform: JSON.parse(line) as PlatformLine, stop };
}

test.runIf(pocketsphinx !== undefined)(
  "F-070 F-013 NF-008 one call over six processes is one trace: adapter, lease, runtime, provider gateway",
  { timeout: 120_000 },
  async () => {
    const collector = await startCollector();
    onTestFinished(() => collector.close());
    const { platform, stop } = await upTraced(collector.url);
    const caller = await call(connectRpc({ baseUrl: platform.registry, domain: "registry" }));
    await until(() => caller.heard.some((frame) => frame.end), "the greeting");
    await caller.hangUp();
    await stop();
    const { spans } = collector;
    const [session] = spans.filter((span) => span.name === "rspp.session");
    const trace = spans.filter((span) => span.traceId === session?.traceId);
    const of = (name: string) => trace.filter((span) => span.name === name);
    const service = (span: (typeof spans)[number] | undefined) => span?.resource["service.name"];
    // The registry is in it where the adapter asked it for its routing view.
    expect(trace.map(service)).toEqual(
      expect.arrayContaining(["transport-websocket", "lease", "runtime", "provider-gateway"]),
    );
    const known = new Map(trace.map((span) => [span.spanId, span]));
    const [opening] = of("rspp.transport.SessionOpener/Open");
    expect([service(opening), opening?.parentSpanId]).toEqual(["transport-websocket", ""]);
    expect(session?.parentSpanId).toBe(opening?.spanId);
    const [turn] = of("rspp.turn");
    expect(turn?.parentSpanId).toBe(session?.spanId);
    const [served] = of("rspp.provider.v1.ProviderService/Invoke");
    const asked = known.get(served?.parentSpanId ?? "");
    expect([service(served), asked?.name, service(asked)]).toEqual([
      "provider-gateway",
      "rspp.invocation tts",
      "runtime",
    ]);
    for (const span of trace) {
      expect(span.endNs >= span.startNs, `${span.name} is not negative`).toBe(true);
      if (span.parentSpanId !== "") expect(known.has(span.parentSpanId), `${span.name} has its parent`).toBe(true);
    }
    // The same processes told their metrics, each under its own name.
    const told = new Set([...collector.points.values()].map(({ resource }) => resource["service.name"]));
    for (const name of ["registry", "lease", "runtime", "provider-gateway", "transport-websocket"])
      expect(told).toContain(name);
  },
);
