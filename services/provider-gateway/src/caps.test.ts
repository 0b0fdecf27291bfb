import type { InvocationCaps, InvocationInput, InvocationOpen, InvocationSink, Provider } from "@rspp/ports/provider";
import { expect, test } from "vitest";
import { createProviderGateway } from "./gateway.ts";
import { ManualClock } from "./testing/clocks.ts";
import { recorder, request } from "./testing/recorder.ts";

/** Answers what it is asked with `words`, one chunk each; says what it was given. */
function setUp(modality: Provider["modality"], words: readonly string[] = [], price?: number) {
  const given: InvocationInput[] = [];
  let cancelled = "";
  const provider: Provider = {
    name: "test/one",
    modality,
    open: (_request: InvocationOpen, sink: InvocationSink) => ({
      push: (input) => void given.push(input),
      finish: () => {
        for (const text of words) sink.chunk({ kind: "text", text, segment: 0, revision: 0, final: true });
        if (cancelled === "") sink.outcome({ kind: "success", detail: "" });
      },
      cancel: (reason) => {
        cancelled = reason;
      },
    }),
  };
  const gateway = createProviderGateway({
    clock: new ManualClock(),
    providers: [provider],
    ...(price === undefined ? {} : { priceOf: () => price }),
  });
  const sink = recorder();
  const open = (caps: InvocationCaps) => gateway.open(request({ modality, provider: "test/one", caps }), sink);
  return { open, given, sink, cancelled: () => cancelled };
}

const ask = (text: string): InvocationInput => ({ kind: "messages", messages: [{ role: "user", text }] });
const said = (sink: ReturnType<typeof recorder>) => sink.chunks.map((c) => (c.kind === "text" ? c.text : "")).join("");

test("F-058 a model's tokens are cut at the cap, the outcome says which, and the model is stopped", () => {
  const { open, sink, cancelled } = setUp("llm", ["0123456789", "0123456789", "0123456789"]);
  const invocation = open({ tokens: 5, onExceeded: "truncate" });
  invocation.push(ask("abcd"));
  invocation.finish();
  // Four of twenty characters were the question.
  expect(said(sink)).toBe("0123456789012345");
  expect(sink.outcomes).toEqual([
    { kind: "success", detail: "cap_reached:tokens", usage: { inputTokens: 1, outputTokens: 4 } },
  ]);
  expect(cancelled()).toBe("cap reached");
});

test("F-058 under refuse the same answer fails, and a question that leaves no room is never asked", () => {
  const over = setUp("llm", ["0123456789", "0123456789", "0123456789"]);
  const invocation = over.open({ tokens: 5, onExceeded: "refuse" });
  invocation.push(ask("abcd"));
  invocation.finish();
  expect(over.sink.outcomes).toEqual([{ kind: "error", detail: "cap_reached:tokens" }]);
  const long = setUp("llm", ["x"]);
  long.open({ tokens: 5, onExceeded: "truncate" }).push(ask("a".repeat(20)));
  expect(long.given).toEqual([]);
  expect(long.sink.outcomes).toEqual([{ kind: "error", detail: "cap_reached:tokens" }]);
});

test("F-058 a voice speaks the words that fit, whole, and none after them", () => {
  const { open, given, sink } = setUp("tts");
  const invocation = open({ ttsCharacters: 20, onExceeded: "truncate" });
  invocation.push({ kind: "text", text: "Twelve chars", segment: 0 });
  invocation.push({ kind: "text", text: "and some more words", segment: 1 });
  invocation.push({ kind: "text", text: "x", segment: 2 });
  expect(sink.outcomes).toEqual([]);
  invocation.finish();
  expect(given).toEqual([
    { kind: "text", text: "Twelve chars", segment: 0 },
    { kind: "text", text: "and some".slice(0, 8).replace(/\S*$/, "").trimEnd(), segment: 1 },
  ]);
  expect(sink.outcomes).toEqual([{ kind: "success", detail: "cap_reached:tts_characters" }]);
});

test("F-058 a recogniser hears no more than its seconds; the cost of a known price is a cap as well", () => {
  const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
  const frame: InvocationInput = { kind: "audio", bytes: new Uint8Array(640), format, durationUs: 20_000 };
  const heard = setUp("stt");
  const invocation = heard.open({ audioMs: 100, onExceeded: "truncate" });
  for (let i = 0; i < 9; i++) invocation.push(frame);
  invocation.finish();
  expect(heard.given).toHaveLength(5);
  expect(heard.sink.outcomes).toEqual([{ kind: "success", detail: "cap_reached:audio_seconds" }]);
  // 2000 millionths a 1000 characters: 20 millionths are ten characters.
  const dear = setUp("tts", [], 2_000);
  const voice = dear.open({ costMicros: 20, ttsCharacters: 1_000, onExceeded: "refuse" });
  voice.push({ kind: "text", text: "more than ten characters", segment: 0 });
  expect(dear.sink.outcomes).toEqual([{ kind: "error", detail: "cap_reached:cost" }]);
  // Without a price nothing is known of the cost.
  const unpriced = setUp("tts");
  unpriced.open({ costMicros: 20, onExceeded: "refuse" }).push({ kind: "text", text: "any words at all", segment: 0 });
  expect(unpriced.given).toHaveLength(1);
});
