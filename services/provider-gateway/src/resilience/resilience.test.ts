import type { Invocation, InvocationChunk, InvocationOpen, InvocationSink, Modality } from "@rspp/ports/provider";
import { MetricRegistry } from "@rspp/telemetry/metric-registry";
import { describe, expect, test } from "vitest";
import { createProviderGateway, type GatewayOptions } from "../gateway.ts";
import { ManualClock } from "../testing/clocks.ts";
import { recorder, request } from "../testing/recorder.ts";
import { circuitLimits, retryAfterMs } from "./circuits.ts";
import { TermsBook } from "./terms.ts";

const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;

/** A provider whose calls the test answers, in a gateway on a clock that stands. */
function rig(modality: Modality = "llm", over: Partial<GatewayOptions> = {}) {
  const clock = new ManualClock();
  const calls: { sink: InvocationSink; inputs: string[]; cancelled: boolean }[] = [];
  const provider = {
    name: "test/one",
    modality,
    open(_request: InvocationOpen, sink: InvocationSink): Invocation {
      const call = { sink, inputs: [] as string[], cancelled: false };
      calls.push(call);
      return {
        push: (input) => void call.inputs.push(input.kind),
        finish: () => void call.inputs.push("finish"),
        cancel: () => {
          call.cancelled = true;
          sink.outcome({ kind: "cancelled", detail: "" });
        },
      };
    },
  };
  const gateway = createProviderGateway({ clock, providers: [provider], ...over });
  let count = 0;
  const open = (more: Partial<InvocationOpen> = {}) => {
    const sink = recorder();
    count += 1;
    const ids = { invocationId: `inv-${count}`, sessionId: `s-${count}` };
    return { sink, invocation: gateway.open(request({ modality, provider: "test/one", ...ids, ...more }), sink) };
  };
  return { clock, calls, gateway, open };
}

const said = (text: string): InvocationChunk => ({ kind: "text", text, segment: 0, revision: 0, final: true });
const frame = (peak: number, segment = 0, segmentEnd = false): InvocationChunk => ({
  kind: "audio",
  bytes: new Uint8Array(new Int16Array(320).fill(peak).buffer),
  format,
  durationUs: 20_000,
  segment,
  segmentEnd,
  segmentChars: 5,
});

describe("F-057 F-136 circuits", () => {
  const failing = (r: ReturnType<typeof rig>, times: number, more: Partial<InvocationOpen> = {}) => {
    for (let i = 0; i < times; i++) {
      r.open(more);
      r.calls.at(-1)?.sink.outcome({ kind: "disconnect", detail: "lost" });
    }
  };

  test("failures in a row open it, a probe after the pause closes it again: seen in order, and counted", () => {
    const metrics = new MetricRegistry();
    const r = rig("llm", { metrics });
    failing(r, circuitLimits.FAILURES_IN_A_ROW);
    const refused = r.open();
    r.clock.advance(0);
    expect(refused.sink.outcomes).toEqual([
      { kind: "overload", detail: expect.stringMatching(/^circuit_open:.*retry after \d+ ms/) },
    ]);
    expect(r.calls.length).toBe(circuitLimits.FAILURES_IN_A_ROW);
    expect(r.gateway.circuits()).toMatchObject([{ provider: "test/one", phase: "open" }]);
    r.clock.advance(circuitLimits.COOL_MS * (1 + circuitLimits.JITTER));
    r.open();
    expect(r.gateway.circuits()).toMatchObject([{ phase: "half_open" }]);
    const beside = r.open();
    r.clock.advance(0);
    expect(beside.sink.outcomes[0]?.detail, "one probe at a time").toMatch(/^circuit_open:/);
    r.calls.at(-1)?.sink.outcome({ kind: "success", detail: "" });
    expect(r.gateway.circuits()).toEqual([]);
    r.open();
    expect(r.calls.length).toBe(circuitLimits.FAILURES_IN_A_ROW + 2);
    const changes = metrics
      .counter({ name: "rspp_provider_circuit_changes_total", help: "", unit: "", labels: ["provider", "to"] })
      .series();
    expect(changes.map(({ labels, value }) => `${labels.to} ${value.value}`)).toEqual([
      "open 1",
      "half_open 1",
      "closed 1",
    ]);
  });

  test("a probe that fails waits twice as long; one that was stopped lets the next try", () => {
    const r = rig();
    failing(r, circuitLimits.FAILURES_IN_A_ROW);
    r.clock.advance(circuitLimits.COOL_MS * 1.2);
    r.open().invocation.cancel("barge_in");
    failing(r, 1);
    r.clock.advance(circuitLimits.COOL_MS * 1.2);
    expect(r.gateway.circuits()).toMatchObject([{ phase: "open" }]);
    const before = r.calls.length;
    r.open();
    expect(r.calls.length).toBe(before);
    r.clock.advance(circuitLimits.COOL_MS * 1.2);
    r.open();
    expect(r.calls.length).toBe(before + 1);
  });

  test("each model and region has its own; a share of failures opens it, too", () => {
    const r = rig();
    failing(r, circuitLimits.FAILURES_IN_A_ROW, { settings: { model: "big", region: "eu" } });
    const count = r.calls.length;
    r.open({ settings: { model: "big", region: "us" } });
    r.open({ settings: { model: "small", region: "eu" } });
    expect(r.calls.length).toBe(count + 2);
    const q = rig();
    for (let i = 0; i < circuitLimits.SAMPLES_MIN; i++) {
      q.open();
      q.calls.at(-1)?.sink.outcome({ kind: i % 2 === 0 ? "success" : "timeout", detail: "" });
    }
    expect(q.gateway.circuits()).toMatchObject([{ phase: "open", failuresInARow: 1 }]);
  });

  test("what is not the provider's fault opens nothing: cancels, refused content, wrong settings", () => {
    const r = rig();
    for (let i = 0; i < 30; i++) {
      const { invocation } = r.open();
      const kinds = ["cancelled", "safety_block", "error"] as const;
      const kind = kinds[i % 3] ?? "error";
      if (kind === "cancelled") invocation.cancel("barge_in");
      else r.calls.at(-1)?.sink.outcome({ kind, detail: "setting `x` must be a number" });
    }
    expect(r.gateway.circuits()).toEqual([]);
  });

  test("a caller that gave up after its patience has seen a timeout; a provider that throws is to blame", () => {
    const r = rig();
    for (let i = 0; i < circuitLimits.FAILURES_IN_A_ROW; i++) {
      const { invocation } = r.open();
      r.clock.advance(1_000);
      invocation.cancel("no chunk within the attempt budget");
    }
    expect(r.gateway.circuits()).toMatchObject([{ phase: "open" }]);
    const clock = new ManualClock();
    const throwing = {
      name: "test/one",
      modality: "llm" as const,
      open: () => {
        throw new Error("no");
      },
    };
    const g = createProviderGateway({ clock, providers: [throwing] });
    for (let i = 0; i < 5; i++) g.open(request({ modality: "llm", provider: "test/one" }), recorder());
    expect(g.circuits()).toMatchObject([{ phase: "open" }]);
  });

  test("a vendor that says when to come again is not asked before", () => {
    const r = rig();
    r.open();
    r.calls[0]?.sink.outcome({ kind: "overload", detail: "rate_limited: HTTP 429; retry after 5000 ms" });
    r.clock.advance(3_900);
    r.open();
    expect(r.calls.length).toBe(1);
    r.clock.advance(2_200);
    r.open();
    expect(r.calls.length).toBe(2);
    expect(retryAfterMs("overload: retry after 10 ms")).toBeUndefined();
  });
});

describe("F-050 F-137 limits of providers and tenants", () => {
  const book = (tenants: Record<string, object>) => {
    const terms = new TermsBook();
    for (const [tenant, config] of Object.entries(tenants)) terms.set(tenant, { "test/one": config });
    return terms;
  };

  test("a call beyond the concurrency waits with its input, and begins when another ends", () => {
    const r = rig("llm", { terms: book({ "*": { concurrency_max: 1 } }).of });
    const first = r.open();
    const second = r.open();
    second.invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] });
    second.invocation.finish();
    expect(r.calls.length).toBe(1);
    r.calls[0]?.sink.outcome({ kind: "success", detail: "" });
    expect(first.sink.outcomes.length).toBe(1);
    expect(r.calls[1]?.inputs).toEqual(["messages", "finish"]);
    expect(r.clock.pending).toBe(0);
  });

  test("it is refused as overload with the time to come again when its wait is over; a cancel leaves the queue", () => {
    const r = rig("llm", { terms: book({ "*": { concurrency_max: 1 } }).of });
    r.open();
    const second = r.open();
    const third = r.open();
    third.invocation.cancel("barge_in");
    expect(third.sink.outcomes).toMatchObject([{ kind: "cancelled" }]);
    r.clock.advance(499);
    expect(second.sink.outcomes).toEqual([]);
    r.clock.advance(1);
    expect(second.sink.outcomes).toEqual([
      { kind: "overload", detail: "rate_limited: concurrency of this provider; retry after 1000 ms" },
    ]);
    r.calls[0]?.sink.outcome({ kind: "success", detail: "" });
    expect(r.calls.length).toBe(1);
    r.open();
    expect(r.calls.length).toBe(2);
  });

  test("a rate: a burst, then as the minute goes; beyond it refused at once", () => {
    const r = rig("llm", { terms: book({ "*": { limits: { requests_per_minute_max: 20 } } }).of });
    const sinks = Array.from({ length: 4 }, () => r.open().sink);
    r.clock.advance(0);
    expect(r.calls.length).toBe(2);
    expect(sinks[2]?.outcomes).toEqual([
      { kind: "overload", detail: "rate_limited: rate of this provider; retry after 3000 ms" },
    ]);
    r.clock.advance(3_000);
    r.open();
    expect(r.calls.length).toBe(3);
    // One that is due soon waits for it.
    r.clock.advance(2_700);
    r.open();
    expect(r.calls.length).toBe(3);
    r.clock.advance(300);
    expect(r.calls.length).toBe(4);
  });

  test("a tenant's terms bind that tenant alone, beside the platform's; disabled is refused; a place is free after a cancel", () => {
    const terms = book({ "*": { concurrency_max: 3 }, acme: { concurrency_max: 1 } });
    const r = rig("llm", { terms: terms.of });
    const first = r.open({ tenantId: "acme" });
    r.open({ tenantId: "acme" });
    r.open({ tenantId: "globex" });
    r.open({ tenantId: "globex" });
    expect(r.calls.length).toBe(3);
    first.invocation.cancel("stop");
    expect(r.calls.length).toBe(4);
    terms.set("acme", { "test/one": { enabled: false } });
    const refused = r.open({ tenantId: "acme" });
    r.clock.advance(0);
    expect(refused.sink.outcomes).toMatchObject([
      { kind: "error", detail: "test/one is disabled by its provider_config" },
    ]);
    terms.set("acme", {});
    expect(terms.of("test/one", "acme")).toHaveLength(1);
  });

  test("input of a call that waits is held up to a bound", () => {
    const r = rig("stt", { terms: book({ "*": { concurrency_max: 1 } }).of });
    r.open();
    const { sink, invocation } = r.open();
    const audio = { kind: "audio", bytes: new Uint8Array(640), format, durationUs: 20_000 } as const;
    for (let i = 0; i < 600; i++) invocation.push(audio);
    expect(sink.outcomes).toMatchObject([{ kind: "overload", detail: expect.stringContaining("rate_limited:") }]);
  });
});

describe("F3 F-160 what the gateway finds by itself", () => {
  test("a stream that begins and goes silent stalls; one that waits for more text does not", () => {
    const r = rig("llm");
    const { sink } = r.open({ settings: { stall_ms: 300 } });
    r.clock.advance(5_000);
    expect(sink.outcomes, "before the first chunk the caller's own timer decides").toEqual([]);
    r.calls[0]?.sink.chunk(said("Once "));
    r.clock.advance(299);
    r.calls[0]?.sink.chunk(said("upon "));
    r.clock.advance(299);
    expect(sink.outcomes).toEqual([]);
    r.clock.advance(2);
    expect(sink.outcomes).toEqual([{ kind: "timeout", detail: "stalled: no chunk for 300 ms" }]);
    expect(r.calls[0]?.cancelled).toBe(true);
    expect(r.gateway.counters()).toMatchObject({ outcomesAfterTerminal: 0 });
    const t = rig("tts");
    const voice = t.open({ settings: { stall_ms: 300 } });
    voice.invocation.push({ kind: "text", text: "Once.", segment: 0 });
    t.calls[0]?.sink.chunk(frame(1_000, 0, true));
    t.clock.advance(10_000);
    expect(voice.sink.outcomes).toEqual([]);
    voice.invocation.push({ kind: "text", text: "Twice.", segment: 1 });
    t.clock.advance(301);
    expect(voice.sink.outcomes).toMatchObject([{ kind: "timeout" }]);
  });

  test("a recogniser's final is due once all was heard", () => {
    const r = rig("stt");
    const { sink, invocation } = r.open({ settings: { stall_ms: 300 } });
    invocation.push({ kind: "audio", bytes: new Uint8Array(640), format, durationUs: 20_000 });
    r.clock.advance(10_000);
    expect(sink.outcomes).toEqual([]);
    invocation.finish();
    r.clock.advance(300);
    expect(sink.outcomes).toMatchObject([{ kind: "timeout", detail: expect.stringContaining("stalled") }]);
  });

  test("a clause of silence is an empty answer of which nothing has left; leading silence of a voice goes out with it", () => {
    const r = rig("tts");
    const { sink, invocation } = r.open();
    invocation.push({ kind: "text", text: "Hello.", segment: 0 });
    const [call] = r.calls;
    for (let i = 0; i < 5; i++) call?.sink.chunk(frame(3));
    expect(sink.chunks).toEqual([]);
    call?.sink.chunk(frame(900));
    call?.sink.chunk(frame(0, 0, true));
    expect(sink.chunks.length).toBe(7);
    invocation.push({ kind: "text", text: "…", segment: 1 });
    invocation.push({ kind: "text", text: "World.", segment: 2 });
    call?.sink.chunk(frame(0, 1, true));
    expect(sink.chunks.length, "a clause without a word may be silent").toBe(8);
    call?.sink.chunk(frame(0, 2));
    call?.sink.chunk(frame(0, 2, true));
    expect(sink.chunks.length).toBe(8);
    expect(sink.outcomes).toEqual([{ kind: "empty", detail: "silent_audio: the voice gave only silence" }]);
    expect(call?.cancelled).toBe(true);
  });

  test.each(["llm", "tts"] as const)(
    "%s: what is no chunk reaches who asked, who refuses it, and breaks nothing",
    (modality) => {
      const r = rig(modality);
      const { sink, invocation } = r.open();
      invocation.push({ kind: "text", text: "Hello.", segment: 0 });
      for (const odd of [null, 1, { kind: "audio" }, { kind: "text" }, {}])
        r.calls[0]?.sink.chunk(odd as unknown as InvocationChunk);
      expect(sink.chunks.length).toBe(5);
      r.calls[0]?.sink.chunk(modality === "llm" ? said("Hello.") : frame(900, 0, true));
      r.calls[0]?.sink.outcome({ kind: "success", detail: "" });
      expect(sink.outcomes).toMatchObject([{ kind: "success" }]);
    },
  );

  test("two seconds of silence are enough to know", () => {
    const r = rig("tts");
    const { sink, invocation } = r.open();
    invocation.push({ kind: "text", text: "Hello.", segment: 0 });
    for (let i = 0; i < 99; i++) r.calls[0]?.sink.chunk(frame(0));
    expect(sink.outcomes).toEqual([]);
    r.calls[0]?.sink.chunk(frame(0));
    expect(sink.outcomes).toMatchObject([{ kind: "empty" }]);
  });

  test("an answer of blanks is empty and has not left; one that only calls a tool is not empty", () => {
    const r = rig("llm");
    const blank = r.open();
    blank.invocation.push({ kind: "messages", messages: [] });
    r.calls[0]?.sink.chunk(said(" \n"));
    r.calls[0]?.sink.outcome({ kind: "success", detail: "" });
    expect(blank.sink.chunks).toEqual([]);
    expect(blank.sink.outcomes).toMatchObject([{ kind: "empty" }]);
    const spaced = r.open();
    r.calls[1]?.sink.chunk(said(" "));
    r.calls[1]?.sink.chunk(said("Yes."));
    expect(spaced.sink.text()).toBe(" Yes.");
    const tool = r.open();
    r.calls[2]?.sink.chunk({ kind: "tool_call", callId: "1", name: "book", arguments: "{}" });
    r.calls[2]?.sink.outcome({ kind: "success", detail: "" });
    expect(tool.sink.outcomes).toMatchObject([{ kind: "success" }]);
  });
});

describe("F-058 NF-017 what was used and what it cost", () => {
  test("by tenant and provider, by the vendor's count where it gives one, in money where the price is known", () => {
    const metrics = new MetricRegistry();
    const terms = new TermsBook();
    terms.set("*", { "test/one": { prices: { input_kilotoken_micros: 2_000, output_kilotoken_micros: 2_000 } } });
    terms.set("acme", { "test/one": { prices: { input_kilotoken_micros: 500, output_kilotoken_micros: 1_500 } } });
    const r = rig("llm", { terms: terms.of, metrics });
    for (const tenantId of ["acme", "globex"]) {
      const { invocation } = r.open({ tenantId });
      invocation.push({ kind: "messages", messages: [{ role: "user", text: "x".repeat(400) }] });
      r.calls.at(-1)?.sink.chunk(said("y".repeat(80)));
      const usage = tenantId === "acme" ? { inputTokens: 500, outputTokens: 500 } : undefined;
      r.calls.at(-1)?.sink.outcome({ kind: "success", detail: "", ...(usage === undefined ? {} : { usage }) });
    }
    expect(r.gateway.usage("acme", "test/one")).toMatchObject({ calls: 1, inputTokens: 500, costMicros: 1_000 });
    expect(r.gateway.usage("globex", "test/one")).toMatchObject({
      inputTokens: 100,
      outputTokens: 20,
      costMicros: 240,
    });
    expect(r.gateway.usage("nobody", "test/one").calls).toBe(0);
    const cost = metrics
      .counter({ name: "rspp_provider_cost_micros_total", help: "", unit: "", labels: ["provider"] })
      .series();
    expect(cost).toMatchObject([{ labels: { provider: "test/one" }, value: { value: 1_240 } }]);
  });

  test("F-102 the limits of one call of the provider_config act, beside the caps of its policy", () => {
    const terms = new TermsBook();
    terms.set("*", { "test/one": { limits: { tts_characters_max: 12 } } });
    const r = rig("tts", { terms: terms.of });
    const { sink, invocation } = r.open({ caps: { ttsCharacters: 100, onExceeded: "refuse" } });
    invocation.push({ kind: "text", text: "more than twelve characters", segment: 0 });
    expect(sink.outcomes).toMatchObject([{ kind: "error", detail: "cap_reached:tts_characters" }]);
    const cut = r.open();
    cut.invocation.push({ kind: "text", text: "more than twelve characters", segment: 0 });
    r.calls[1]?.sink.chunk(frame(900, 0, true));
    r.calls[1]?.sink.outcome({ kind: "success", detail: "" });
    expect(cut.sink.outcomes).toMatchObject([{ kind: "success", detail: "cap_reached:tts_characters" }]);
  });

  test("the configured price is what a cap on cost is counted by; what was used up to a cancel is counted", () => {
    const terms = new TermsBook();
    terms.set("*", { "test/one": { prices: { tts_kilocharacter_micros: 1_000_000 } } });
    const r = rig("tts", { terms: terms.of });
    const { sink, invocation } = r.open({ caps: { costMicros: 10_000, onExceeded: "refuse" } });
    invocation.push({ kind: "text", text: "eleven char", segment: 0 });
    expect(sink.outcomes).toMatchObject([{ kind: "error", detail: "cap_reached:cost" }]);
    const next = r.open({ caps: { costMicros: 11_000, onExceeded: "refuse" } });
    next.invocation.push({ kind: "text", text: "eleven char", segment: 0 });
    next.invocation.cancel("barge_in");
    expect(r.gateway.usage("", "test/one")).toMatchObject({ calls: 2, characters: 22, costMicros: 22_000 });
  });
});
