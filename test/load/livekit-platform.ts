/**
 * Runtime and LiveKit adapter in one process, with an agent in each of the rooms `bench-0 …` (`livekit-barge.ts` is the other
 * side). Arguments: LiveKit server, rooms. Says a line when all agents are in, then one of figures for every line it reads.
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
import { createLiveKitRoom } from "@rspp/transport-livekit/livekit-room";
import { RoomTokens } from "@rspp/transport-livekit/room-tokens";
import { LiveKitTransport } from "@rspp/transport-livekit/transport";
import { levelVad } from "../integration/rig.ts";
import { LIVEKIT_KEY, LIVEKIT_SECRET } from "../livekit/livekit-server.ts";
import { ENDPOINT_AT_ONCE, instantProviders } from "./runtime-rig.ts";

tuneCollector();
const [url = "", rooms = "1"] = process.argv.slice(2);
const clock = createSystemClock();
const folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
const store = openNodeStore(folder);
if (!store.ok) throw new Error(store.error.detail);
const spool = createSpool({ store: store.value, clock, diskBytesMax: 64 * 2 ** 30 });
// Six whole periods: one frame after the other is one tone.
const tone = Int16Array.from({ length: 320 }, (_, n) => 8_000 * Math.sin((2 * Math.PI * 6 * n) / 320));
const story = {
  text: "A long story that goes on and on. ",
  frames: 500,
  everyMs: 50,
  frame: new Uint8Array(tone.buffer),
};
const providers = instantProviders(clock, story);
const runtime = createRuntime({ clock, providers, vad: levelVad(), spool });
// One loud frame interrupts; a frame that was lost on the way is not the end of what is said.
const graph = assistantGraph({ endpointing: { ...ENDPOINT_AT_ONCE, endpoint_silence_ms: 300 } });
const authority = { epoch: 1, incarnation: "bench", deadlineNs: asMonoNs(Number.MAX_SAFE_INTEGER) };

const transport = new LiveKitTransport({
  ...{ clock, url, clientUrl: "", createRoom: createLiveKitRoom },
  tokens: new RoomTokens({ apiKey: LIVEKIT_KEY, secret: () => Promise.resolve(LIVEKIT_SECRET) }),
  verifier: {
    verify: (session) => {
      const { pipelineVersion } = graph;
      const claims = { tenant: "bench", session, pipelineVersion, instance: "", variables: {} };
      return Promise.resolve({ ok: true, value: { ...claims, expiresWallMs: clock.wallMs() + 3_600_000 } });
    },
  },
  openSession: ({ claims: { tenant, session: sessionId, pipelineVersion }, transport: line }) => {
    const config = testConfig(graph, { authority, tenantId: tenant, sessionId });
    const opened = runtime.openSession({ config, transport: line });
    if (!opened.ok)
      return Promise.resolve({ ok: false, error: { reason: "capacity_exhausted", remedy: opened.error.detail } });
    const value = { session: opened.value, epoch: 1, tenant, sessionId, pipelineVersion };
    return Promise.resolve({ ok: true, value });
  },
});
for (let n = 0; n < Number(rooms); n++) {
  const asked = { token: `bench-${n}`, room: "", callerIdentity: "", callerWithinMs: 60_000 };
  const joined = await transport.join(asked);
  if (!joined.ok) throw new Error(JSON.stringify(joined.error));
}
process.stdout.write('{"ready":true}\n');
let cpu = process.cpuUsage();
let wallNs = clock.nowNs();
for await (const _line of createInterface({ input: process.stdin })) {
  const used = process.cpuUsage(cpu);
  const cpuPercent = (100 * (used.user + used.system)) / ((clock.nowNs() - wallNs) / 1_000);
  cpu = process.cpuUsage();
  wallNs = clock.nowNs();
  process.stdout.write(`${JSON.stringify({ cpuPercent, fence: runtime.metrics.read("cancel_fence_ms") })}\n`);
}
await transport.close();
await runtime.close();
await spool.close();
rmSync(folder, { recursive: true, force: true });
process.exit(0);
