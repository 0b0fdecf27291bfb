import { asMonoNs } from "@rspp/base/brand";
import type { AppendTimelineRequest } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import type { RpcConnection } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { startExporter } from "@rspp/runtime/export/exporter";
import { exportLimits } from "@rspp/runtime/export/limits";
import { createRuntime, type Runtime, type RuntimeSession } from "@rspp/runtime/runtime";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { afterAll, beforeAll, expect, test } from "vitest";
import { byteVad, ENDPOINT_AT_ONCE, instantProviders, stamped } from "../load/runtime-rig.ts";
import { createReplayRig, type Rig, tenantId } from "./replay-rig.ts";

const CALLS = 6;
const SAMPLES = 60;
const CUT_EVERY_MS = 60;
const LATENCIES = ["control_preempt_delay_ms", "cancel_fence_ms"] as const;
type Samples = Record<(typeof LATENCIES)[number], number[]>;

let rig: Rig;
beforeAll(async () => {
  rig = await createReplayRig();
});
afterAll(() => rig.close());

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** The same connection; counts the records of one turn of the event loop. */
function counted(connection: RpcConnection): { connection: RpcConnection; most: () => number } {
  let most = 0;
  let now = 0;
  const count = (message: AppendTimelineRequest["message"]): void => {
    if (message.case !== "append") return;
    if (now === 0) setImmediate(() => (now = 0));
    now += message.value.records.length;
    most = Math.max(most, now);
  };
  async function* counting(requests: AsyncIterable<AppendTimelineRequest>) {
    for await (const request of requests) {
      count(request.message);
      yield request;
    }
  }
  const client = connection.client(TimelineService);
  const append: typeof client.appendTimeline = (requests, options) =>
    client.appendTimeline(counting(requests as AsyncIterable<AppendTimelineRequest>), options);
  const wrapped = { ...client, appendTimeline: append };
  return { connection: { ...connection, client: () => wrapped as never }, most: () => most };
}

/** An agent that talks all the time, and a caller who stops it again and again. */
class TalkingCall {
  private readonly adapter;
  private readonly session: RuntimeSession;
  private turn = 0;
  private fenced = 0;

  constructor(runtime: Runtime, clock: ReturnType<typeof createSystemClock>, sessionId: string) {
    this.adapter = createLoopbackAdapter({ clock, epoch: 1 });
    const edge = stamped(this.adapter, {
      onIngress: (message) => {
        if (message.kind === "fence_ack") this.fenced = message.turn;
      },
      onEgress: (message) => {
        if (message.kind === "media") this.turn = message.turn;
      },
    });
    const recording = { policyId: "p", ceiling: "L1", evidenceQuotaBytes: 1_048_576 } as const;
    const authority = { epoch: 1, incarnation: "test", deadlineNs: asMonoNs(Number.MAX_SAFE_INTEGER) };
    const graph = assistantGraph({ endpointing: ENDPOINT_AT_ONCE });
    const config = testConfig(graph, { tenantId, sessionId, recording, authority });
    const opened = runtime.openSession({ config, transport: edge.line });
    if (!opened.ok) throw new Error(opened.error.detail);
    this.session = opened.value;
    this.adapter.connect(edge.toward(this.session));
    this.talk();
  }

  cut(): void {
    if (this.turn <= this.fenced) return;
    this.adapter.stop();
    this.talk();
  }

  end(): void {
    this.adapter.end();
  }

  private talk(): void {
    expect(this.session.say("This is a long story that goes on and on. ").ok).toBe(true);
  }
}

test("F-154 export outage leaves control latency alone; catch-up marked", async () => {
  const clock = createSystemClock();
  const store = createMemoryStore();
  const spool = createSpool({ store, clock });
  const providers = instantProviders(clock, { text: "A long story. ", frames: 400, everyMs: 50 });
  const runtime = createRuntime({ clock, providers, vad: byteVad, spool });
  let samples: Samples = { control_preempt_delay_ms: [], cancel_fence_ms: [] };
  const record = runtime.metrics.record.bind(runtime.metrics);
  runtime.metrics.record = (name, ns) => {
    if (name === "control_preempt_delay_ms" || name === "cancel_fence_ms") samples[name].push(ns / 1e6);
    record(name, ns);
  };
  const { connection, most } = counted(rig.rpc);
  const who = { instanceId: "runtime-1", build: "test" };
  const exporter = startExporter({ spool, store, connection, clock, log: silentLog, ...who });
  const calls = Array.from({ length: CALLS }, (_, i) => new TalkingCall(runtime, clock, `control-${i}`));
  let cuts = 0;
  const cutting = setInterval(() => calls[cuts++ % CALLS]?.cut(), CUT_EVERY_MS / 2);
  const enough = (): boolean => LATENCIES.every((name) => samples[name].length >= SAMPLES);
  /** What is measured until there is enough of it, and `over`. */
  const phase = async (over: () => boolean): Promise<Samples> => {
    samples = { control_preempt_delay_ms: [], cancel_fence_ms: [] };
    await expect.poll(() => enough() && over(), { timeout: 60_000 }).toBe(true);
    return samples;
  };
  try {
    await expect.poll(() => exporter.stats().exported, { timeout: 30_000 }).toBeGreaterThan(100);
    const calm = await phase(() => true);
    await rig.stop();
    const outage = await phase(() => exporter.stats().behind);
    expect(exporter.stats().connected).toBe(false);
    const { exported } = exporter.stats();
    await rig.start();
    const catchUp = await phase(() => exporter.stats().exported > exported);
    // The calls go on: it is marked while they do.
    await expect.poll(() => exporter.stats().behind, { timeout: 60_000 }).toBe(false);
    for (const name of LATENCIES) {
      // In one run on one machine: a stall of the loop would be many times the median of either.
      const bound = 3 * median(calm[name]) + 5;
      expect(median(outage[name]), `${name} during the outage`).toBeLessThan(bound);
      expect(median(catchUp[name]), `${name} while it catches up`).toBeLessThan(bound);
    }
    // However much waits, little of it is done in one turn of the loop.
    expect(most()).toBeGreaterThan(0);
    expect(most()).toBeLessThanOrEqual(exportLimits.BATCH_RECORDS);
    clearInterval(cutting);
    for (const call of calls) call.end();
    await expect.poll(() => runtime.stats().sessions, { timeout: 30_000 }).toBe(0);
    await exporter.idle();
    let marked = 0;
    for (let i = 0; i < CALLS; i++) {
      const session = { tenantId, sessionId: `control-${i}` };
      const marks = await rig.read({ session, kinds: ["marker"] });
      marked += marks.filter(({ body }) => body.case === "marker" && body.value.name === "export_caught_up").length;
      expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({ chainIntact: true, faults: [] });
    }
    expect(marked).toBeGreaterThan(0);
  } finally {
    clearInterval(cutting);
    await exporter.stop();
    await runtime.close();
    await spool.close();
  }
}, 240_000);
