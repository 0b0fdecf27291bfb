import type { InvocationInput, InvocationOutcome, Modality } from "@rspp/ports/provider";
import { type Metric, MetricRegistry } from "@rspp/telemetry/metric-registry";
import { expect, test } from "vitest";
import type { ManagedProvider } from "./attempt.ts";
import { codeOf } from "./calls.ts";
import { createProviderGateway } from "./gateway.ts";
import { ManualClock } from "./testing/clocks.ts";
import { recorder, request } from "./testing/recorder.ts";

const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
const bytes = new Uint8Array(640).fill(0x33);
const frame: InvocationInput = { kind: "audio", bytes, format, durationUs: 20_000 };

/** Answers after 80 ms with one chunk of its kind, then ends as told. */
function provider(clock: ManualClock, name: string, modality: Modality, outcome: InvocationOutcome): ManagedProvider {
  return {
    name,
    modality,
    open: (_, sink) => ({
      push: () => {},
      finish: () => {
        clock.timerAt((clock.nowNs() + 80e6) as never, () => {
          if (modality === "tts")
            sink.chunk({
              kind: "audio",
              bytes,
              format,
              durationUs: 20_000,
              segment: 0,
              segmentEnd: true,
              segmentChars: 2,
            });
          else sink.chunk({ kind: "text", text: "four", segment: 0, revision: 0, final: modality === "stt" });
          sink.outcome(outcome);
        });
      },
      cancel: () => sink.outcome({ kind: "cancelled", detail: "cancelled" }),
    }),
  };
}

function values(registry: MetricRegistry, name: string): Record<string, number> {
  const metric = registry.collect().find(({ family }) => family.definition.name === name) as Metric;
  return Object.fromEntries(
    metric.family.series().map(({ labels, value }) => {
      const amount = "value" in value ? value.value : value.summary().p50Ms;
      return [Object.values(labels).join(" "), Math.round(amount)];
    }),
  );
}

test("F-065 calls of every kind are labelled alike: provider, kind, outcome, code; latency, audio, characters", () => {
  const clock = new ManualClock();
  const metrics = new MetricRegistry();
  const ok: InvocationOutcome = { kind: "success", detail: "" };
  const providers = [
    provider(clock, "a/stt", "stt", ok),
    provider(clock, "a/chat", "llm", ok),
    provider(clock, "a/tts", "tts", { kind: "overload", detail: "rate_limited: HTTP 429, again after 2 s" }),
  ];
  const gateway = createProviderGateway({ clock, providers, metrics });
  const inputs: Record<string, InvocationInput> = {
    stt: frame,
    llm: { kind: "messages", messages: [{ role: "user", text: "hello" }] },
    tts: { kind: "text", text: "hi", segment: 0 },
  };
  for (const { name, modality } of providers) {
    const call = gateway.open(request({ modality, provider: name }), recorder());
    call.push(inputs[modality] as InvocationInput);
    clock.advance(100);
    call.finish();
    clock.advance(100);
  }
  gateway.open(request({ modality: "llm", provider: "a/chat" }), recorder()).cancel("barge_in");
  // Names come from callers: one that nobody knows makes no series of its own.
  gateway.open(request({ modality: "llm", provider: "made/up" }), recorder());
  clock.advance(1);
  expect(values(metrics, "rspp_gateway_calls_total")).toEqual({
    "a/stt stt success ok": 1,
    "a/chat llm success ok": 1,
    "a/tts tts overload 429": 1,
    "a/chat llm cancelled ": 1,
    "unknown llm error ": 1,
  });
  const first = values(metrics, "rspp_gateway_first_output_seconds");
  expect(Object.keys(first)).toEqual(["a/stt stt", "a/chat llm", "a/tts tts"]);
  // Speech is heard while it is spoken: only what follows its end is a wait.
  expect(first["a/stt stt"]).toBeLessThan(90);
  expect(first["a/chat llm"]).toBeGreaterThan(170);
  expect(values(metrics, "rspp_gateway_passed_total")).toEqual({
    "a/stt stt input_audio_ms": 20,
    "a/stt stt output_characters": 4,
    "a/stt stt chunks": 1,
    "a/chat llm input_characters": 5,
    "a/chat llm output_characters": 4,
    "a/chat llm chunks": 1,
    "a/tts tts input_characters": 2,
    "a/tts tts output_audio_ms": 20,
    "a/tts tts chunks": 1,
  });
});

test("F-065 a code is one of few, whatever the detail says", () => {
  const code = (detail: string) => codeOf({ kind: "error", detail });
  expect(code("HTTP 503")).toBe("503");
  expect(code("quota: HTTP 402")).toBe("402");
  expect(code("stalled: nothing came")).toBe("stalled");
  expect(code("malformed: no JSON")).toBe("malformed");
  expect(code("a secret word of somebody")).toBe("");
  expect(code("HTTP 999")).toBe("");
});
