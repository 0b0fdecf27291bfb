/**
 * Calls over an in-memory transport in a process of their own, to be pinned to one core: `node core-load.ts MODE CALLS
 * WARM_S RUN_S`. MODE is `voice` (trivial detector), `policy` (the same under live snapshots), `silero` (the neural one) or
 * `echo` (the 7-node chain). Says one line
 * of `CoreFigures`. The callers are in the process, so that what they cost counts.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import { createSystemClock } from "@rspp/host/system-clock";
import { assistantGraph } from "@rspp/kernel/testing/harness";
import type { SessionEnd, TransportEgress, TransportEnd } from "@rspp/ports/transport";
import { createVadHost } from "@rspp/runtime/vad/vad";
import { quantile, waitedUs } from "./bench.ts";
import { filterChain } from "./graphs.ts";
import { liveSnapshots } from "./live-snapshots.ts";
import { createRig, ENDPOINT_AT_ONCE, FRAME_US, PCM, type RigParts } from "./runtime-rig.ts";

export interface CoreFigures {
  calls: number;
  frames: number;
  cpuPercent: number;
  waitedPercent: number;
  /** CPU per caller frame, all threads, microseconds. */
  cpuUsPerFrame: number;
  /** Frames of replies and how late they came against the playout that the first began, milliseconds. */
  media: number;
  lateP50Ms: number;
  lateP95Ms: number;
  lateP99Ms: number;
  /** End of speech handed in to the first frame of the reply. */
  firstP50Ms: number;
  firstP95Ms: number;
  /** End of speech handed in to `turn_open` handed out (P8). */
  openP50Ms: number;
  openP95Ms: number;
  replies: number;
  rssMb: number;
  /** Snapshots put in force while it ran; mode `policy`. */
  snapshots: number;
}

const [mode = "voice", callsText = "100", warmText = "5", runText = "10"] = process.argv.slice(2);
const calls = Number(callsText);
const FRAME_MS = FRAME_US / 1_000;
const CYCLE_FRAMES = 250;
const SPEECH_FRAMES = 50;
const REPLY_FRAMES = 100;
const SAMPLES_MAX = 400_000;

const clock = createSystemClock();
const SILENCE = new Uint8Array(640);
const speech = await speechFrames();
const rig = createRig(clock, { text: "Good day to you. ", frames: REPLY_FRAMES, everyMs: 0 }, {}, await parts());

async function parts(): Promise<RigParts> {
  if (mode === "echo") return { graph: filterChain() };
  if (mode !== "silero") return {};
  const vad = await createVadHost({ silero: "auto" });
  if (!vad.name.includes("silero")) throw new Error(`the neural detector is not installed: ${vad.name} serves`);
  // It is sure of the end of speech after some frames of silence alone.
  return { vad, graph: assistantGraph({ endpointing: { ...ENDPOINT_AT_ONCE, endpoint_silence_ms: 100 } }) };
}

/** One second of a recorded question, from where it is loud. */
async function speechFrames(): Promise<Uint8Array[]> {
  const wav = readFileSync(fileURLToPath(new URL("../../cli/assets/question-1.wav", import.meta.url)));
  const samples = await wavTo16kMono(parseWav(wav));
  const from = Math.max(
    0,
    samples.findIndex((sample) => Math.abs(sample) > 2_000),
  );
  return Array.from({ length: SPEECH_FRAMES }, (_, i) => {
    const at = from + ((i * 320) % Math.max(320, samples.length - from - 320));
    const bytes = new Uint8Array(samples.slice(at, at + 320).buffer);
    // The trivial detector looks at this byte.
    bytes[0] = 1;
    return bytes;
  });
}

const snapshots = mode === "policy" ? await liveSnapshots(clock, rig.graph) : null;

const lateMs: number[] = [];
const firstMs: number[] = [];
const openMs: number[] = [];
let measuring = false;
let media = 0;
let frames = 0;
let replies = 0;

function sample(into: number[], value: number): void {
  if (measuring && into.length < SAMPLES_MAX) into.push(value);
}

/** Speaks one second in five; counts what it hears and says that it was played. */
class Caller implements TransportEnd {
  session: SessionEnd | null = null;
  #sequence = 0;
  #turn = 0;
  #startNs = 0;
  #playedUs = 0;
  #endNs = 0;
  readonly #phase: number;

  constructor(phase: number) {
    this.#phase = phase;
  }

  connect(session: SessionEnd): void {
    this.session = session;
    session.receive({
      kind: "control",
      epoch: 1,
      sequence: 1,
      signal: "connected",
      controlClass: "overtaking",
      lastMediaSequence: 0,
      reason: "",
    });
  }

  frame(): void {
    const at = (this.#sequence + this.#phase) % CYCLE_FRAMES;
    const mediaUs = this.#sequence * FRAME_US;
    this.#sequence += 1;
    if (at === SPEECH_FRAMES) this.#endNs = clock.nowNs();
    const bytes = (at < SPEECH_FRAMES ? speech[at] : undefined) ?? SILENCE;
    if (measuring) frames += 1;
    const { session } = this;
    session?.receive({
      kind: "audio",
      epoch: 1,
      sequence: this.#sequence,
      mediaUs,
      durationUs: FRAME_US,
      format: PCM,
      bytes,
    });
  }

  send(message: TransportEgress): void {
    if (message.kind === "control" && message.signal === "turn_open" && this.#endNs !== 0)
      sample(openMs, (clock.nowNs() - this.#endNs) / 1e6);
    if (message.kind !== "media") return;
    const nowNs = clock.nowNs();
    const { epoch, turn, generation, durationUs, offsetUs, end } = message;
    const tell = (state: "accepted" | "started" | "completed"): void =>
      this.session?.receive({ kind: "delivery", epoch, turn, generation, state, playedUs: this.#playedUs });
    if (measuring) media += 1;
    if (turn !== this.#turn || turn === 0) {
      if (turn !== this.#turn) {
        this.#playedUs = 0;
        this.#startNs = nowNs;
        if (this.#endNs !== 0) sample(firstMs, (nowNs - this.#endNs) / 1e6);
        this.#endNs = 0;
        tell("accepted");
        tell("started");
      }
      this.#turn = turn;
    }
    sample(lateMs, Math.max(0, (nowNs - this.#startNs) / 1e6 - offsetUs / 1_000));
    this.#playedUs += durationUs;
    if (!end || turn === 0) return;
    if (measuring) replies += 1;
    tell("completed");
  }
}

const callers = Array.from({ length: calls }, (_, i) => {
  const caller = new Caller(Math.floor((i * CYCLE_FRAMES) / calls));
  const session = rig.open(`call-${i}`, caller);
  snapshots?.bind(session);
  caller.connect(session);
  return caller;
});

/** Ten groups a frame time, so that calls are spread as real ones are; a late timer lowers no load. */
const GROUPS = 10;
const startMs = performance.now();
let tick = 0;
const timer = setInterval(() => {
  const due = (performance.now() - startMs) / (FRAME_MS / GROUPS);
  for (; tick < due; tick++) for (let i = tick % GROUPS; i < callers.length; i += GROUPS) callers[i]?.frame();
}, FRAME_MS / GROUPS);

const seconds = (text: string): Promise<void> => new Promise((resolve) => setTimeout(resolve, Number(text) * 1_000));
await seconds(warmText);
measuring = true;
const before = { cpu: process.cpuUsage(), ns: clock.nowNs(), waited: waitedUs() };
await seconds(runText);
measuring = false;
const used = process.cpuUsage(before.cpu);
const wallUs = (clock.nowNs() - before.ns) / 1_000;
const cpuUs = used.user + used.system;
const figures: CoreFigures = {
  calls,
  frames,
  cpuPercent: (100 * cpuUs) / wallUs,
  waitedPercent: (100 * (waitedUs() - before.waited)) / wallUs,
  cpuUsPerFrame: cpuUs / Math.max(1, frames),
  media,
  lateP50Ms: quantile(lateMs, 0.5),
  lateP95Ms: quantile(lateMs, 0.95),
  lateP99Ms: quantile(lateMs, 0.99),
  firstP50Ms: quantile(firstMs, 0.5),
  firstP95Ms: quantile(firstMs, 0.95),
  openP50Ms: quantile(openMs, 0.5),
  openP95Ms: quantile(openMs, 0.95),
  replies,
  rssMb: process.memoryUsage.rss() / 2 ** 20,
  snapshots: snapshots?.accepted() ?? 0,
};
process.stdout.write(`${JSON.stringify(figures)}\n`);
clearInterval(timer);
await rig.close();
process.exit(0);
