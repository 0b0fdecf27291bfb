/**
 * Adapter and runtime in one process, for benchmarks over WebSocket (`ws-load.ts` is the other side). Arguments: graph
 * (`echo` or `story`). Says `{"port":…}` when it listens, then a line of figures for every line on its standard input.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { asMonoNs } from "@rspp/base/brand";
import { tuneCollector } from "@rspp/host/collector";
import { createSystemClock } from "@rspp/host/system-clock";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import { createRuntime } from "@rspp/runtime/runtime";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { openWebSocketTransport } from "@rspp/transport-websocket/server";
import { waitedUs } from "./bench.ts";
import { filterChain } from "./graphs.ts";
import { byteVad, ENDPOINT_AT_ONCE, instantProviders } from "./runtime-rig.ts";

// As every service of the platform does.
tuneCollector();
const graphName = process.argv[2] ?? "echo";
const clock = createSystemClock();
const folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
const store = openNodeStore(folder);
if (!store.ok) throw new Error(store.error.detail);
const spool = createSpool({ store: store.value, clock, diskBytesMax: 64 * 2 ** 30 });
const providers = instantProviders(clock, { text: "A long story that goes on and on. ", frames: 500, everyMs: 50 });
const runtime = createRuntime({ clock, providers, vad: byteVad, spool });
const graph = graphName === "echo" ? filterChain() : assistantGraph({ endpointing: ENDPOINT_AT_ONCE });
const authority = { epoch: 1, incarnation: "bench", deadlineNs: asMonoNs(Number.MAX_SAFE_INTEGER) };

const transport = await openWebSocketTransport({
  clock,
  port: 0,
  compression: false,
  verifier: {
    verify: (token) => {
      const claims = {
        tenant: "bench",
        session: token,
        pipelineVersion: graph.pipelineVersion,
        instance: "",
        variables: {},
      };
      return Promise.resolve({ ok: true, value: { ...claims, expiresWallMs: clock.wallMs() + 3_600_000 } });
    },
  },
  openSession: ({ claims, transport: line }) => {
    const config = testConfig(graph, { authority, tenantId: claims.tenant, sessionId: claims.session });
    const opened = runtime.openSession({ config, transport: line });
    if (!opened.ok)
      return Promise.resolve({ ok: false, error: { reason: "capacity_exhausted", remedy: opened.error.detail } });
    const { tenant, session: sessionId, pipelineVersion } = claims;
    return Promise.resolve({
      ok: true,
      value: { session: opened.value, epoch: 1, tenant, sessionId, pipelineVersion },
    });
  },
});
process.stdout.write(`${JSON.stringify({ port: transport.port })}\n`);

let cpu = process.cpuUsage();
let wallNs = clock.nowNs();
let waited = waitedUs();
for await (const _line of createInterface({ input: process.stdin })) {
  const used = process.cpuUsage(cpu);
  const wallUs = (clock.nowNs() - wallNs) / 1_000;
  const figures = {
    cpuPercent: (100 * (used.user + used.system)) / wallUs,
    waitedPercent: (100 * (waitedUs() - waited)) / wallUs,
    sessions: runtime.stats().sessions,
    rssMb: process.memoryUsage.rss() / 2 ** 20,
    fence: runtime.metrics.read("cancel_fence_ms"),
  };
  cpu = process.cpuUsage();
  wallNs = clock.nowNs();
  waited = waitedUs();
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
await transport.close();
await runtime.close();
await spool.close();
rmSync(folder, { recursive: true, force: true });
