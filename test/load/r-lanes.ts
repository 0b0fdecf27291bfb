/** R-lanes: how long control waits while control, data and telemetry of its session are saturated (F-142). */
import { setImmediate as turn } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import { RaiseFenceSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import { startGrpcServer } from "@rspp/rpc/grpc-server";
import type { LinkSessionHandlers, LinkSessionPort, SessionConstants } from "@rspp/rpc/link-api";
import { createLinkClient } from "@rspp/rpc/link-client";
import { createLinkServer } from "@rspp/rpc/link-server";
import type { RuntimeSession } from "@rspp/runtime/runtime";
import { toEnvelope } from "@rspp/wire/envelope";
import type { LinkPayload } from "@rspp/wire/link-control";
import type { EventInit } from "@rspp/wire/wire-event";
import { BareLine } from "./bare-line.ts";
import { type Bench, type BenchResult, quantileRow, type Row, waitedUs } from "./bench.ts";
import { createRig } from "./runtime-rig.ts";

const CANCELS = 300;
const WARM_CANCELS = 50;
/** What waits before each cancel: frames of data, deliveries, positioned control. */
const FRAMES = 200;
const DELIVERIES = 300;
const MUTES = 50;
const PATIENCE_MS = 10_000;

const QUANTILES = [
  ["p50", 0.5],
  ["p95", 0.95],
  ["p99", 0.99],
] as const;
const quantiles = (what: string, samplesMs: readonly number[]): Row[] =>
  QUANTILES.map(([name, q]) => quantileRow(`${what}, ${name}`, "ms", samplesMs, q));

async function until(holds: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await turn();
  }
}

/** One call whose agent speaks and is cut, again and again. */
class Cut {
  readonly samplesMs: number[] = [];
  private readonly line = new BareLine(false);
  private readonly session: RuntimeSession;
  private sequence = 1;
  private cutMs = 0;
  private turn = 0;

  constructor(open: (id: string, line: BareLine) => RuntimeSession, id: string) {
    const { line } = this;
    const inner = line.send.bind(line);
    line.send = (message) => {
      inner(message);
      if (message.kind === "media") this.turn = message.turn;
      if (message.kind !== "fence" || this.cutMs === 0) return;
      this.samplesMs.push(performance.now() - this.cutMs);
      this.cutMs = 0;
      const { epoch, turn: of, generation } = message;
      this.session.receive({ kind: "fence_ack", epoch, turn: of, generation, playedUs: 0, flushed: 0 });
    };
    this.session = open(id, line);
    line.connect(this.session);
    // Telemetry is told to somebody: metrics and debug events of everything that happens.
    this.session.events.subscribe({ kinds: ["metrics", "debug", "control", "text", "error"] });
  }

  async cut(saturated: boolean): Promise<void> {
    const before = this.line.media;
    const said = this.session.say("This is a long story that goes on and on. ");
    if (!said.ok) throw new Error(said.error.detail);
    await until(() => this.line.media > before, "the reply's first frame");
    if (saturated) this.flood();
    this.sequence += 1;
    this.cutMs = performance.now();
    const { sequence, turn: of } = this;
    const overtaking = { signal: "cancel", controlClass: "overtaking", reason: "user_cancel" } as const;
    this.session.receive({ kind: "control", epoch: 1, sequence, turn: of, lastMediaSequence: 0, ...overtaking });
    await until(() => this.cutMs === 0, "the fence");
    await until(() => this.session.stats().queued === 0, "an empty queue");
  }

  private flood(): void {
    for (let i = 0; i < FRAMES; i++) this.line.frame(false);
    const { turn: of } = this;
    for (let i = 0; i < DELIVERIES; i++) {
      this.session.receive({ kind: "delivery", epoch: 1, turn: of, generation: 1, state: "progress", playedUs: i });
    }
    for (let i = 0; i < MUTES; i++) {
      this.sequence += 1;
      const signal = i % 2 === 0 ? "mute" : "unmute";
      const { sequence } = this;
      const positioned = { controlClass: "positioned", lastMediaSequence: 0, reason: "" } as const;
      this.session.receive({ kind: "control", epoch: 1, sequence, signal, ...positioned });
    }
  }
}

async function inProcess(): Promise<Row[]> {
  const rig = createRig(createSystemClock(), { text: "unused", frames: 500, everyMs: 50 });
  const rows: Row[] = [];
  try {
    for (const saturated of [false, true]) {
      const call = new Cut((id, line) => rig.open(id, line), saturated ? "saturated" : "idle");
      for (let i = 0; i < WARM_CANCELS; i++) await call.cut(saturated);
      call.samplesMs.length = 0;
      for (let i = 0; i < CANCELS; i++) await call.cut(saturated);
      const what = saturated ? `${FRAMES + DELIVERIES + MUTES} events waiting` : "nothing else waiting";
      rows.push(...quantiles(`in process, ${what}: cancel until its fence is handed out`, call.samplesMs));
    }
    const preempt = rig.runtime.metrics.read("control_preempt_delay_ms");
    if (preempt === null) throw new Error("no preemption was measured");
    const base = { unit: "ms", low: 0, high: preempt.maxMs };
    for (const [name, value] of [
      ["p50", preempt.p50Ms],
      ["p95", preempt.p95Ms],
      ["p99", preempt.p99Ms],
    ] as const)
      rows.push({ ...base, what: `in process, both: control_preempt_delay, ${name}`, value });
  } finally {
    await rig.close();
  }
  return rows;
}

const constants: SessionConstants = {
  ...{ tenant: "acme", session: "s-1", pipelineVersion: "voice-assistant@1", epoch: 7 },
  ...{ codec: "pcm_s16le", sampleRateHz: 16_000, channels: 1 },
};

function envelope(turn: number, payload: EventInit["payload"]): Envelope {
  const made = toEnvelope(constants, { eventId: "r-1", turn, generation: 1, wallMs: Date.now(), payload });
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}

const FRAME: EventInit["payload"] = {
  kind: "audio",
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
  ...{ bytes: new Uint8Array(640), durationUs: 20_000, end: false, segment: -1 },
};
const DEPTH = { name: "edge_depth_items", kind: "gauge", value: 1, nodeId: "", edgeId: "e1", labels: {} } as const;
const SAMPLE: EventInit["payload"] = { kind: "metrics", samples: [DEPTH] };
const FENCE = {
  kind: "overtaking",
  message: { case: "fence", value: create(RaiseFenceSchema, { reason: Reason.BARGE_IN, authorityEpoch: 7n }) },
} satisfies LinkPayload;

/** A runtime's end and an adapter's, on real sockets in this process; the runtime's sends all it may, and a fence now and then. */
async function overLink(): Promise<Row[]> {
  let adapter: LinkSessionPort | null = null;
  let sentMs = 0;
  const samplesMs: number[] = [];
  let media = 0;
  const handlers: LinkSessionHandlers = {
    onEvent: (event) => {
      if (event.kind === "event") {
        media += 1;
        if (event.lane === "data") adapter?.consumed(event.audioUs, event.bytes);
      } else if (event.kind === "overtaking" && sentMs !== 0) {
        samplesMs.push(performance.now() - sentMs);
        sentMs = 0;
      }
    },
  };
  let runtime: LinkSessionPort | null = null;
  const server = createLinkServer({
    ...{ domain: "runtime", peerId: "runtime-1", build: "bench" },
    onLink: () => ({
      onSession: (port) => {
        runtime = port;
        return { onEvent: () => undefined };
      },
    }),
  });
  const grpc = await startGrpcServer({ domain: "runtime", port: 0, services: [server.service] });
  const options = { domain: "adapter", linkId: "link-1", peerId: "adapter-1", build: "bench" };
  const client = createLinkClient(
    { ...options, address: `127.0.0.1:${grpc.port}` },
    { onSession: () => ({ onEvent: () => undefined }) },
  );
  await client.ready(PATIENCE_MS);
  const bound = client.end.bind(constants, handlers);
  if (!bound.ok) throw new Error(JSON.stringify(bound.error));
  adapter = bound.value;
  await until(() => runtime !== null, "the session at the runtime");
  const port = runtime as LinkSessionPort | null;
  if (port === null) throw new Error("no session");
  const line: Line = {
    port,
    media: () => media,
    fence: async (cutoff) => {
      sentMs = performance.now();
      const sent = port.sendControl(FENCE, { class: "overtaking", cutoff });
      if (!sent.ok) throw new Error(JSON.stringify(sent.error));
      await until(() => sentMs === 0, "the fence at the adapter");
    },
  };
  try {
    const calm = await fences(line, samplesMs, false);
    return [...calm, ...(await fences(line, samplesMs, true))];
  } finally {
    client.close();
    server.close();
    await grpc.stop(200);
  }
}

/** Both ends of a line, as the fences below need them. */
interface Line {
  readonly port: LinkSessionPort;
  /** Events of data and telemetry that the adapter has read. */
  media(): number;
  /** Sends a fence; resolves when the adapter has read it. */
  fence(cutoff: { turn: number; generation: number; olderTurns: boolean }): Promise<void>;
}

async function fences({ port, media, fence }: Line, samplesMs: number[], saturated: boolean): Promise<Row[]> {
  samplesMs.length = 0;
  const before = saturated ? WARM_CANCELS + CANCELS : 0;
  for (let i = 0; i < WARM_CANCELS + CANCELS; i++) {
    if (i === WARM_CANCELS) samplesMs.length = 0;
    const of = before + i + 1;
    const [frame, sample] = [envelope(of, FRAME), envelope(of, SAMPLE)];
    const read = media();
    for (let n = 0; saturated && n < FRAMES; n++) {
      port.sendMedia(frame);
      port.sendMedia(sample);
    }
    // The rest is on its way, in every buffer of the line, when the fence is sent.
    if (saturated) await until(() => media() > read, "the first frame at the adapter");
    // As a cancel does it: what of the turn still waits here is not sent any more.
    await fence({ turn: of, generation: 2, olderTurns: true });
    if (!saturated) await turn();
  }
  const what = saturated ? `${FRAMES} frames and as many samples sent before each` : "nothing else sent";
  return quantiles(`over a link pair, ${what}: fence until it is read`, samplesMs);
}

export const rLanes: Bench = {
  name: "R-lanes",
  title: "Control while all lanes of its session are saturated",
  async run(): Promise<BenchResult> {
    const before = { ms: performance.now(), us: waitedUs() };
    const rows = [...(await inProcess()), ...(await overLink())];
    const waited = (waitedUs() - before.us) / 10 / (performance.now() - before.ms);
    return {
      name: "R-lanes",
      title: rLanes.title,
      topology:
        "one process: runtime with its spool on disk at L1; two ends of a link over loopback sockets; providers simulated",
      compared: "the same cancels with nothing else waiting, in the same run",
      rows,
      notes: [
        `${CANCELS} cancels each; before one that is saturated wait ${FRAMES} frames, ${DELIVERIES} deliveries and ${MUTES} positioned signals, and metrics and debug events are told of all`,
        `the process was ready and had no core for ${waited.toFixed(1)} % of the time`,
      ],
    };
  },
};
