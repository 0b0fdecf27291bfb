import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Effect } from "@rspp/kernel/effect";
import type { Batch, InputBody } from "@rspp/kernel/input";
import { assistantGraph, testConfig } from "@rspp/kernel/testing/harness";
import type { ProviderPort } from "@rspp/ports/provider";
import { describe, expect, test } from "vitest";
import { createVirtualClock } from "./clock/virtual-clock.ts";
import { type KernelPort, kernel } from "./kernel-port.ts";
import { limits } from "./limits.ts";
import { createRuntime } from "./runtime.ts";
import { createMemoryStore } from "./spool/memory-store.ts";
import { createSpool } from "./spool/spool.ts";
import { FakeTransport, fakeProviders, fakeVad } from "./testing/fakes.ts";

/** A kernel that answers each input by script; the event loop is turned by hand. */
function scripted(answer: (body: InputBody, batch: Batch) => Effect[], providers?: ProviderPort) {
  const clock = createVirtualClock();
  const deferred: (() => void)[] = [];
  const batches: Batch[] = [];
  const fake: KernelPort = {
    ...kernel,
    createSession: () => ({}),
    mappingErrorMs: () => -1,
    step(_state, batch) {
      batches.push(batch);
      const effects = batch.inputs.flatMap((input) => answer(input.body, batch));
      const connected = batch.inputs.some((i) => i.body.type === "control" && i.body.signal === "connected");
      if (connected) effects.push(status("active", "connected"));
      const ending = batch.inputs.find((i) => i.body.type === "operator" && i.body.command === "end");
      if (ending?.body.type === "operator") effects.push(status("ended", ending.body.reason));
      return { effects, facts: [], runnable: false };
    },
  };
  const spool = createSpool({ store: createMemoryStore(), clock });
  const runtime = createRuntime({
    clock,
    kernel: fake,
    spool,
    vad: fakeVad(),
    providers: providers ?? fakeProviders(clock),
    defer: (run) => void deferred.push(run),
  });
  const open = (sessionId: string, ceiling: "L0" | "L2" = "L0") => {
    const transport = new FakeTransport(clock);
    const base = testConfig(assistantGraph());
    const config = { ...base, sessionId, recording: { ...base.recording, ceiling, evidenceQuotaBytes: 100_000 } };
    const opened = runtime.openSession({ config, transport });
    if (!opened.ok) throw new Error(opened.error.detail);
    transport.session = opened.value;
    return { session: opened.value, line: transport };
  };
  const turn = (): void => {
    for (let run = deferred.shift(); run !== undefined; run = deferred.shift()) run();
  };
  const pass = (ms: number): void => {
    const until = clock.nowNs() + msToNs(ms);
    for (;;) {
      turn();
      const next = clock.nextNs();
      if (next === null || next > until) break;
      clock.jump();
    }
    clock.advanceTo(asMonoNs(until));
    turn();
  };
  return { clock, runtime, spool, batches, open, turn, pass };
}

const status = (phase: string, reason: string): Effect => ({
  type: "status",
  phase,
  reconnecting: false,
  degraded: false,
  reason,
});
const none = (): Effect[] => [];

describe("session host", () => {
  test("a flood of audio drops the oldest frames, counted; control is kept and order stands", () => {
    const s = scripted(none);
    const { session, line } = s.open("a");
    line.control("connected");
    for (let i = 0; i < limits.INPUT_MEDIA_ITEMS_MAX + 50; i++) line.frame(true);
    line.control("mute");
    expect(session.stats()).toMatchObject({ mediaDropped: 50, queued: limits.INPUT_MEDIA_ITEMS_MAX + 2 });
    s.turn();
    const inputs = s.batches.flatMap((b) => b.inputs);
    expect(inputs.map((i) => i.seq)).toEqual(inputs.map((_, i) => i + 1));
    expect(s.batches.map((b) => b.index)).toEqual(s.batches.map((_, i) => i + 1));
    expect(inputs[0]?.body).toMatchObject({ type: "control", signal: "connected" });
    expect(inputs[1]?.body).toMatchObject({ type: "audio", sequence: 51 });
    expect(inputs.at(-1)?.body).toMatchObject({ signal: "mute" });
    expect(session.stats().payloads.inputItems).toBeLessThanOrEqual(101);
  });

  test("control past its hard bound ends that session with the reason, and no other", async () => {
    const s = scripted(none);
    const flooded = s.open("a");
    const calm = s.open("b");
    calm.line.control("connected");
    s.turn();
    for (let i = 0; i < limits.INPUT_ITEMS_MAX + 100; i++) flooded.line.control("silence");
    s.turn();
    expect(await flooded.session.ended).toMatchObject({ reason: "input_queue_overflow", forced: true });
    expect(flooded.line.sent.at(-1)).toMatchObject({ kind: "close", reason: "input_queue_overflow" });
    expect(s.runtime.sessions().map((one) => one.id)).toEqual(["b"]);
    expect(flooded.session.stats().inputsIgnored).toBeGreaterThan(90);
  });

  test("payload bytes past their bound: an error event, the session ended, never a crash", async () => {
    const s = scripted(none);
    const { session, line } = s.open("a");
    const errors = session.events.subscribe({ kinds: ["error"] });
    line.control("connected");
    s.turn();
    for (let i = 0; session.say("x".repeat(limits.SAY_CHARS_MAX)).ok; i++) expect(i).toBeLessThan(10_000);
    for (let i = 0; i < 200; i++) line.frame(true);
    s.turn();
    expect(await session.ended).toMatchObject({ reason: "payload_bytes_limit" });
    expect(errors?.take()).toMatchObject({ kind: "error", code: "payload_bytes_limit" });
    expect(session.stats().payloads).toMatchObject({ items: 0, bytes: 0 });
  });

  test("a kernel that throws ends its session; a kernel that will not end is ended by force", async () => {
    const s = scripted((body) => {
      if (body.type === "control" && body.signal === "stall") throw new Error("broken invariant");
      return [];
    });
    const broken = s.open("a");
    const fine = s.open("b");
    for (const { line } of [broken, fine]) line.control("connected");
    broken.line.control("stall", "x");
    s.turn();
    expect(await broken.session.ended).toMatchObject({ reason: "kernel_fault", forced: true });
    expect(s.runtime.sessions().length).toBe(1);
    fine.session.operator("end", { reason: "bye" });
    s.turn();
    expect(await fine.session.ended).toMatchObject({ reason: "bye", forced: false });
    const connecting = s.open("c");
    connecting.session.operator("end", { reason: "never connected" });
    expect(await connecting.session.ended).toMatchObject({ reason: "never connected" });
  });

  test("timers fire once, moved by the same id, never after clear", () => {
    const at = (ms: number) => asMonoNs(msToNs(ms));
    const s = scripted((body) => {
      if (body.type !== "control") return [];
      return [
        { type: "timer_set", id: "moved", atNs: at(10) },
        { type: "timer_set", id: "moved", atNs: at(30) },
        { type: "timer_set", id: "cleared", atNs: at(20) },
        { type: "timer_clear", id: "cleared" },
      ];
    });
    const { line } = s.open("a");
    line.control("connected");
    s.pass(100);
    const fired = s.batches.flatMap((b) =>
      b.inputs.filter((i) => i.body.type === "timer").map((i) => [i.body, i.monoNs]),
    );
    expect(fired).toEqual([[{ type: "timer", id: "moved" }, at(30)]]);
  });

  test("late and malformed provider data is refused and counted; a provider that throws ends in an outcome", () => {
    const clock = createVirtualClock();
    const fakes = fakeProviders(clock);
    const providers: ProviderPort = {
      ...fakes,
      open(request, sink) {
        if (request.invocationId === "2") throw new Error("boom");
        return fakes.open(request, sink);
      },
    };
    const open = (invocation: number): Effect => ({
      type: "provider_open",
      invocation,
      invocationId: String(invocation),
      modality: "llm",
      node: "llm",
      provider: "sim/llm",
      settings: {},
      attempt: 1,
      attemptTimeoutMs: 1_000,
      idempotencyKey: "",
      epoch: 1,
      turn: 1,
      generation: 1,
    });
    const s = scripted((body) => (body.type === "control" ? [open(1), open(2)] : []), providers);
    const { session, line } = s.open("a");
    line.control("connected");
    s.turn();
    const sink = fakes.sinks[0];
    const chunk = { kind: "text", text: "hi", segment: 0, revision: 1, final: false } as const;
    sink?.chunk(chunk);
    sink?.chunk({ ...chunk, segment: -1 });
    sink?.chunk({ kind: "noise" } as never);
    sink?.outcome({ kind: "success", detail: "" });
    sink?.outcome({ kind: "success", detail: "" });
    sink?.chunk(chunk);
    s.turn();
    const bodies = s.batches
      .flatMap((b) => b.inputs.map((i) => i.body))
      .filter((body) => body.type.startsWith("provider"));
    expect(bodies).toMatchObject([
      { type: "provider_outcome", invocation: 2, outcome: "error", detail: "provider_threw" },
      { type: "provider_chunk", invocation: 1, index: 0, chunk: { chars: 2, payload: { hash: "" } } },
      { type: "provider_outcome", invocation: 1, outcome: "success" },
    ]);
    expect(session.stats()).toMatchObject({ chunksRefused: 4, openInvocations: 0 });
  });

  test("F-153 pressure reaches sessions above L0, again and again while it lasts, and then the calm", () => {
    const s = scripted(none);
    const high = s.open("high", "L2");
    s.open("low");
    high.line.control("connected");
    s.pass(100);
    const budget = s.spool.measures();
    expect(
      s.spool.reserve(
        { tenantId: "t", sessionId: "filler" },
        4_294_967_296 - budget.usedBytes - budget.reservedBytes - 1_000_000,
      ),
    ).toBe(true);
    high.line.frame(true);
    s.pass(2_000);
    s.spool.release({ tenantId: "t", sessionId: "filler" });
    s.pass(2_000);
    const reports = s.batches.flatMap((b) => b.inputs.filter((i) => i.body.type === "recording_pressure"));
    const last = reports.at(-1)?.body;
    expect(reports.length).toBeGreaterThan(4);
    expect(reports[0]?.body).toMatchObject({ type: "recording_pressure" });
    expect(last?.type === "recording_pressure" && last.fill < 0.8).toBe(true);
    high.session.operator("end");
    s.turn();
    expect([...(s.spool.readSession("high").runs[0]?.payloads.values() ?? [])][0]?.base64?.length).toBe(856);
  });
});
