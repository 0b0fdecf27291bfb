/**
 * P-gateway: what the gateway adds to a provider, per invocation and per chunk, with 300 under way; memory over 10,000 of them;
 * and how soon a vendor sees a cancelled call closed.
 */
import type { Invocation, InvocationSink } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { watchHealth } from "@rspp/provider-gateway/health";
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { request } from "@rspp/provider-gateway/testing/recorder";
import { cancelMs, fakedVendors, vendorStage } from "../conformance/providers/vendor-stage.ts";
import { tonePcm } from "../fakes/fake.ts";
import { type Bench, type BenchResult, collectGarbage, measure, quantileRow, row } from "./bench.ts";

const AT_ONCE = 300;
const CHUNKS = 100;
const ROUNDS = 30;
const MEMORY_INVOCATIONS = 10_000;
const CANCELS = 20;
const CANCEL_BAR_MS = 25;
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const frame = new Uint8Array(tonePcm(20, 16_000));

/** A voice whose answers are there at once, a frame each time the benchmark asks. */
class Instant implements ManagedProvider {
  readonly name = "bench/tts";
  readonly modality = "tts";
  readonly sinks: InvocationSink[] = [];

  open(_request: unknown, sink: InvocationSink): Invocation {
    this.sinks.push(sink);
    return { push: () => {}, finish: () => {}, cancel: () => sink.outcome({ kind: "cancelled", detail: "" }) };
  }

  /** A frame to each, then the end of each. */
  answer(frames: number): void {
    for (let n = 0; n < frames; n++)
      for (const sink of this.sinks)
        sink.chunk({
          kind: "audio",
          bytes: frame,
          format,
          durationUs: 20_000,
          segment: 0,
          segmentEnd: n === frames - 1,
          segmentChars: 5,
        });
    for (const sink of this.sinks.splice(0)) sink.outcome({ kind: "success", detail: "" });
  }
}

type Open = (n: number, sink: InvocationSink) => Invocation;

const nowhere: InvocationSink = { chunk: () => {}, outcome: () => {} };

function burst(open: Open, provider: Instant, frames: number, from: number): void {
  for (let i = 0; i < AT_ONCE; i++) {
    const invocation = open(from + i, nowhere);
    invocation.push({ kind: "text", text: "Hello.", segment: 0 });
    invocation.finish();
  }
  provider.answer(frames);
}

/** Microseconds of CPU of this thread for a burst. */
function costs(open: Open, provider: Instant, frames: number): number[] {
  burst(open, provider, frames, 0);
  return Array.from({ length: ROUNDS }, (_, n) => measure(() => burst(open, provider, frames, n * AT_ONCE)).threadUs);
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

function ways(): { direct: Open; through: Open; provider: Instant; close(): Promise<void> } {
  const clock = systemClock();
  const provider = new Instant();
  const gateway = createProviderGateway({ clock, providers: [provider] });
  const health = watchHealth(gateway, clock, [provider.name]);
  const asked = (n: number) =>
    request({
      modality: "tts",
      provider: provider.name,
      invocationId: `i-${n}`,
      sessionId: `s-${n % AT_ONCE}`,
      turn: n,
    });
  return {
    provider,
    direct: (n, sink) => provider.open(asked(n), sink),
    through: (n, sink) => health.port.open(asked(n), sink),
    close: () => gateway.close(),
  };
}

/** KiB of heap that the second half of the invocations left behind, by invocation. */
function heldKib(): number {
  const { through, provider } = ways();
  const run = (count: number): void => {
    for (let n = 0; n < count; n += AT_ONCE) burst(through, provider, 5, n);
  };
  run(MEMORY_INVOCATIONS / 2);
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  run(MEMORY_INVOCATIONS);
  collectGarbage();
  return (process.memoryUsage().heapUsed - before) / 1_024;
}

async function cancels(): Promise<number[]> {
  const clock = systemClock();
  const found: number[] = [];
  for (const entry of fakedVendors) {
    const stage = await vendorStage(entry, clock);
    stage.script({ transcript: "words", reply: "words and more words", audioMs: 2_000, chunkMs: 20 });
    const gateway = createProviderGateway({ clock, providers: [stage.provider] });
    for (let i = 0; i < CANCELS; i++) {
      const ms = await cancelMs(stage, () => {
        const before = stage.fake.calls.length;
        const invocation = gateway.open(
          request({ modality: entry.modality, provider: entry.name, sessionId: `c-${i}`, invocationId: `c-${i}` }),
          nowhere,
        );
        if (entry.modality === "stt") invocation.push({ kind: "audio", bytes: frame, format, durationUs: 20_000 });
        else if (entry.modality === "tts") invocation.push({ kind: "text", text: "Hello there.", segment: 0 });
        else invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] });
        if (entry.modality !== "stt" || entry.capabilities.streamingInput !== true) invocation.finish();
        return { started: called(() => stage.fake.calls.length > before), cancel: () => invocation.cancel("bench") };
      });
      if (ms !== undefined) found.push(ms);
    }
    await gateway.close();
    await stage.close();
  }
  return found;
}

async function called(holds: () => boolean): Promise<boolean> {
  const endMs = performance.now() + 2_000;
  while (!holds()) {
    if (performance.now() > endMs) return false;
    await new Promise((resolve) => setImmediate(resolve));
  }
  return true;
}

export const pGateway: Bench = {
  name: "P-gateway",
  title: "Overhead of the provider gateway",
  async run(): Promise<BenchResult> {
    const { direct, through, provider, close } = ways();
    const bare = [costs(direct, provider, 1), costs(direct, provider, CHUNKS)].map(median);
    const [few, many] = [costs(through, provider, 1), costs(through, provider, CHUNKS)];
    const perInvocation = few.map((us) => (us - (bare[0] ?? 0)) / AT_ONCE);
    const perChunk = many.map(
      (us) => (us - (bare[1] ?? 0) - (median(few) - (bare[0] ?? 0))) / (AT_ONCE * (CHUNKS - 1)),
    );
    await close();
    const closed = await cancels();
    return {
      name: "P-gateway",
      title: this.title,
      topology: `one process; ${AT_ONCE} invocations at once of a voice that answers at once, ${CHUNKS} frames each; then vendors' fakes on loopback`,
      compared: "the same provider without the gateway, in the same rounds",
      rows: [
        row("added per invocation", "µs", perInvocation),
        row("added per chunk", "µs", perChunk),
        row(`heap kept after ${MEMORY_INVOCATIONS} more invocations`, "KiB", [heldKib()], 1_024),
        quantileRow("cancel until the vendor sees its call closed, p99", "ms", closed, 0.99, CANCEL_BAR_MS),
        quantileRow("cancel until the vendor sees its call closed, p50", "ms", closed, 0.5),
      ],
      notes: [`${closed.length} cancels over ${fakedVendors.length} vendors; health is watched as in the service.`],
    };
  },
};
