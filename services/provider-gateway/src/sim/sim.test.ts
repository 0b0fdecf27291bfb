import type { Invocation, InvocationOpen, OutcomeKind, SettingValue } from "@rspp/ports/provider";
import { describe, expect, test } from "vitest";
import { createProviderGateway } from "../gateway.ts";
import { ManualClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { type Recorder, recorder, request } from "../testing/recorder.ts";
import { createSimLlm } from "./llm.ts";
import { createSimStt } from "./stt.ts";
import { createSimTts, simWordTimings } from "./tts.ts";

const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const audio = (ms: number) =>
  ({ kind: "audio", bytes: new Uint8Array(ms * 32), format, durationUs: ms * 1000 }) as const;
const question = { kind: "messages", messages: [{ role: "user", text: "one two three four" }] } as const;

const feeds = {
  llm: (invocation: Invocation) => invocation.push(question),
  tts: (invocation: Invocation) => invocation.push({ kind: "text", text: "go on", segment: 0 }),
  stt: (invocation: Invocation) => invocation.push(audio(1000)),
};
const base = { llm: {}, tts: {}, stt: { transcripts: Array<string>(50).fill("one two three") } };

describeConformance({
  create: (clock) => createSimLlm({ clock }),
  clock: "manual",
  settings: { first_chunk_ms: 50, chunk_ms: 5, jitter_ms: 3 },
  feed: feeds.llm,
  badSetting: { name: "first_chunk_ms", value: "soon" },
});
describeConformance({
  create: (clock) => createSimTts({ clock }),
  clock: "manual",
  settings: { first_chunk_ms: 50 },
  feed: feeds.tts,
  badSetting: { name: "words", value: "yes" },
});
describeConformance({
  create: (clock) => createSimStt({ clock }),
  clock: "manual",
  settings: base.stt,
  feed: feeds.stt,
  badSetting: { name: "transcripts", value: "one" },
});

function set() {
  const clock = new ManualClock();
  const providers = [createSimLlm({ clock }), createSimTts({ clock }), createSimStt({ clock })];
  const gateway = createProviderGateway({ clock, providers });
  const start = (
    modality: "llm" | "tts" | "stt",
    settings: Record<string, SettingValue>,
    sink: Recorder,
    over: Partial<InvocationOpen> = {},
  ) =>
    gateway.open(
      request({ modality, provider: `sim/${modality}`, settings: { ...base[modality], ...settings }, ...over }),
      sink,
    );
  return { clock, gateway, start };
}

describe("F-160 faults", () => {
  const wanted: [string, OutcomeKind | "nothing"][] = [
    ["none", "success"],
    ["timeout", "timeout"],
    ["overload", "overload"],
    ["unauthorized", "unauthorized"],
    ["disconnect", "disconnect"],
    ["silent", "nothing"],
    ["empty", "empty"],
    ["late_data", "success"],
    ["chunk_after_terminal", "success"],
  ];
  for (const modality of ["llm", "tts", "stt"] as const) {
    test.each(wanted)(`${modality} with fault %s ends in %s`, (fault, kind) => {
      const { clock, gateway, start } = set();
      const sink = recorder();
      const invocation = start(modality, { fault }, sink);
      feeds[modality](invocation);
      invocation.finish();
      clock.advance(999);
      if (fault === "timeout" || fault === "late_data") expect(sink.outcomes.concat(sink.chunks as [])).toEqual([]);
      clock.advance(60_000);
      // Once it has heard all, a recogniser's words are due: the gateway finds that it stalled.
      const found = fault === "silent" && modality === "stt" ? "timeout" : kind;
      expect(sink.outcomes[0]?.kind ?? "nothing").toBe(found);
      expect(gateway.counters().chunksAfterTerminal).toBe(fault === "chunk_after_terminal" ? 1 : 0);
      if (found === "nothing") {
        invocation.cancel("timeout");
        expect(sink.outcomes[0]?.kind).toBe("cancelled");
      }
      expect(clock.pending).toBe(0);
    });

    test(`${modality} with fault late_data still sends after a cancel, and the gateway refuses it`, () => {
      const { clock, gateway, start } = set();
      const sink = recorder();
      const invocation = start(modality, { fault: "late_data" }, sink);
      feeds[modality](invocation);
      invocation.finish();
      invocation.cancel("barge_in");
      clock.advance(10_000);
      expect(sink.chunks).toEqual([]);
      expect(gateway.counters().chunksAfterTerminal).toBeGreaterThan(0);
    });
  }
});

test("the same seed gives the same waits, another seed others; waits lie in their bounds", () => {
  const run = (seed: string, distribution: string) => {
    const { clock, start } = set();
    const times: number[] = [];
    const sink = recorder(() => times.push(clock.nowNs() / 1e6));
    const settings = { first_chunk_ms: 100, chunk_ms: 20, jitter_ms: 10, seed, distribution };
    start("llm", settings, sink).push(question);
    clock.advance(5000);
    return times;
  };
  expect(run("a", "uniform")).toEqual(run("a", "uniform"));
  expect(run("a", "exponential")).toEqual(run("a", "exponential"));
  expect(run("a", "uniform")).not.toEqual(run("b", "uniform"));
  const [first, second] = run("c", "uniform");
  expect(first).toBeGreaterThanOrEqual(100);
  expect(first).toBeLessThan(110);
  expect(second! - first!).toBeGreaterThanOrEqual(20);
  expect(second! - first!).toBeLessThan(30);
});

test("with all times zero everything comes on the clock's next turn", () => {
  const { clock, start } = set();
  const sink = recorder();
  start("llm", { text: "a b c d e", chunks: 2 }, sink).push(question);
  expect(sink.chunks.length).toBe(0);
  clock.advance(0);
  expect(sink.chunks.map((c) => (c.kind === "text" ? c.text : ""))).toEqual(["a b", " c d e"]);
  expect(sink.outcomes[0]?.usage?.outputTokens).toBe(2);
});

test("sim/tts speaks its clauses in order with exact word timings", () => {
  const { clock, start } = set();
  const sink = recorder();
  const invocation = start("tts", { ms_per_char: 50, chunk_ms: 20 }, sink);
  invocation.push({ kind: "text", text: "go on now", segment: 0 });
  invocation.push({ kind: "text", text: "stop", segment: 1 });
  invocation.finish();
  clock.advance(5000);
  const audioChunks = sink.chunks.filter((c) => c.kind === "audio");
  expect(audioChunks.map((c) => c.segment)).toEqual([...Array(23).fill(0), ...Array(10).fill(1)]);
  expect(audioChunks.filter((c) => c.segmentEnd).length).toBe(2);
  expect(audioChunks[0]!.words).toEqual(simWordTimings("go on now", 50));
  expect(audioChunks[0]!.words![1]).toEqual({ from: 3, to: 5, startUs: 150_000, endUs: 250_000 });
  const samples = new Int16Array(new Uint8Array(sink.audio()).buffer);
  const loud = (ms: number) => samples.slice(ms * 16, ms * 16 + 160).some((v) => Math.abs(v) > 4000);
  expect([loud(10), loud(120), loud(160), loud(260)]).toEqual([true, false, true, false]);
  expect(sink.outcomes[0]?.usage).toEqual({ audioUs: 660_000, characters: 13 });
});

test("sim/stt shows partials with the audio, takes transcripts in order, and keeps one for a cancelled utterance", () => {
  const { clock, start } = set();
  const say = (settings: Record<string, SettingValue>, finish: boolean) => {
    const sink = recorder();
    const invocation = start("stt", settings, sink);
    for (let i = 0; i < 40; i++) invocation.push(audio(20));
    if (finish) invocation.finish();
    else invocation.cancel("noise");
    clock.advance(1000);
    return sink;
  };
  const settings = { transcripts: ["go forward ten meters", "stop"], first_chunk_ms: 100 };
  expect(say(settings, false).text()).toBe("gogo forward");
  const first = say(settings, true);
  expect(first.chunks.map((c) => (c.kind === "text" ? [c.text, c.final] : []))).toEqual([
    ["go", false],
    ["go forward", false],
    ["go forward ten meters", true],
  ]);
  expect(say(settings, true).finals()).toEqual(["stop"]);
  expect(say(settings, true).outcomes[0]?.kind).toBe("empty");
});

test("X-09 the simulated voice takes phonetic spellings: such a word lasts as long as its letters, the rest as ever", () => {
  const plain = simWordTimings("eat tomato now.", 10);
  const spelt = simWordTimings("eat tomato now.", 10, new Map([["tomato", "təmɑːtəʊ"]]));
  expect(plain.map(({ endUs, startUs }) => (endUs - startUs) / 10_000)).toEqual([3, 6, 4]);
  expect(spelt.map(({ endUs, startUs }) => (endUs - startUs) / 10_000)).toEqual([3, 8, 4]);
  expect(spelt.map(({ from, to }) => [from, to])).toEqual(plain.map(({ from, to }) => [from, to]));
});
