/** F-156: whoever receives checks the epoch. Each receiver of one running call is given something of an epoch that is over. */
import type { MonoNs } from "@rspp/base/brand";
import type { TransportEgress } from "@rspp/ports/transport";
import { describe, expect, test } from "vitest";
import { createRig, openCall, type Rig, type SimCall, simConfig, speech } from "./rig.ts";

const NEW = 5;
const OLD = 1;
const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;

/** A call that answers, and whose lease has moved from epoch 1 to epoch 5 while the reply plays. */
async function rotatedCall(): Promise<{ rig: Rig; call: SimCall }> {
  const rig = createRig();
  const config = simConfig("rotated", {
    stt: { transcripts: ["first question", "second question"] },
    llm: { text: "This is a reply of some length, so that it still plays while the lease is moved to another epoch." },
  });
  const call = openCall(rig, config);
  call.line.speak(speech(300));
  await rig.until(() => call.line.recording().ranges.some((r) => r.turn === 1 && r.toUs > 500_000));
  expect(call.line.raiseEpoch(NEW)).toBe(true);
  call.session.update({ type: "authority", kind: "rotated", epoch: NEW, deadlineNs: 1e18 as MonoNs });
  await rig.pass(100);
  return { rig, call };
}

/** `signal/turn: reason` as an onlooker sees them. */
function watchSignals(call: SimCall): string[] {
  const told: string[] = [];
  call.session.events.subscribe({
    kinds: ["control"],
    onReady: (s) => {
      for (let e = s.take(); e !== undefined; e = s.take())
        if (e.kind === "control") told.push(`${e.signal}/${e.turn}${e.reason === "" ? "" : `: ${e.reason}`}`);
    },
  });
  return told;
}

describe("F-156 a stale epoch is refused", () => {
  test("at the runtime's ingress: neither audio nor control of it changes anything, and each refusal is marked", async () => {
    const { rig, call } = await rotatedCall();
    const told = watchSignals(call);
    const frame = new Uint8Array(new Int16Array(320).fill(9_000).buffer);
    for (let i = 0; i < 60; i++) {
      const sequence = 100_000 + i;
      const mediaUs = 900_000_000 + i * 20_000;
      call.session.receive({ kind: "audio", epoch: OLD, sequence, mediaUs, durationUs: 20_000, format, bytes: frame });
    }
    const control = { kind: "control", epoch: OLD, sequence: 9_001, controlClass: "overtaking" } as const;
    call.session.receive({ ...control, signal: "stop", reason: "old" });
    call.session.receive({ ...control, signal: "ended", reason: "old" });
    await rig.pass(1_500);
    expect(rig.runtime.session(call.session.config)).not.toBeNull();
    expect(call.line.fences()).toEqual([]);
    expect(call.signals.filter((s) => s.startsWith("turn_open/"))).toEqual(["turn_open/1"]);
    const marks = told.filter((line) => line.startsWith("stale_epoch_reject/0"));
    expect(marks.length).toBe(62);
    // The call itself goes on under the new epoch.
    call.line.speak(speech(300));
    await rig.until(() => call.signals.includes("turn_open/2"));
  });

  test("at the adapter: media, fence, control, text and close of the old epoch", async () => {
    const { rig, call } = await rotatedCall();
    const before = call.line.recording().ranges.length;
    const media = { kind: "media", epoch: OLD, turn: 1, generation: 1, sequence: 9_999, offsetUs: 0 } as const;
    const stale: TransportEgress[] = [
      { ...media, durationUs: 20_000, format, bytes: new Uint8Array(640).fill(9), end: true },
      { kind: "fence", epoch: OLD, turn: 1, generation: 99, all: true, reason: "old" },
      { kind: "control", epoch: OLD, signal: "output_hold", turn: 1, reason: "old" },
      {
        kind: "text",
        epoch: OLD,
        turn: 1,
        role: "assistant",
        text: "no",
        final: true,
        segment: 0,
        revision: 0,
      },
      { kind: "close", epoch: OLD, reason: "old" },
    ];
    for (const message of stale) call.line.send(message);
    // Nor is an epoch believed that nobody has granted.
    call.line.send({ kind: "fence", epoch: NEW + 1, turn: 1, generation: 99, all: true, reason: "forged" });
    const { refused } = call.line.stats();
    expect([refused.stale_epoch, refused.ungranted_epoch]).toEqual([5, 1]);
    expect(call.line.refusals().map((r) => [r.reason, r.epoch, r.floor])).toEqual([
      ...stale.map(() => ["stale_epoch", OLD, NEW]),
      ["ungranted_epoch", NEW + 1, NEW],
    ]);
    // The reply plays on, unbroken, to its end.
    await rig.until(() => call.line.deliveries().some((d) => d.turn === 1 && d.phase === "completed"));
    expect(call.line.fences()).toEqual([]);
    expect(call.line.recording().ranges.length).toBe(before);
  });

  test("at the runtime's egress: once authority is gone nothing of the old epoch leaves any more", async () => {
    const rig = createRig();
    const text =
      "Well then, here it is. This is a long reply that is still being said when the session is granted to somebody else.";
    const call = openCall(
      rig,
      simConfig("revoked", { stt: { transcripts: ["go"] }, llm: { text, chunk_ms: 200 }, tts: { ms_per_char: 60 } }),
    );
    const told = watchSignals(call);
    call.line.speak(speech(300));
    await rig.until(() => call.line.recording().ranges.some((r) => r.turn === 1 && r.toUs > 400_000));
    const sent = call.sent.length;
    call.session.update({ type: "authority", kind: "granted_elsewhere", epoch: NEW, deadlineNs: 0 as MonoNs });
    await rig.until(() => told.includes("close/1"));
    // T8, for whoever looks on; the caller's side hears no more of an epoch that is over.
    const terminal = told.filter((s) => /^(deauthorized_drain|abort|close|commit)\//.test(s));
    expect(terminal.map((s) => s.split(":")[0])).toEqual(["deauthorized_drain/1", "abort/1", "close/1"]);
    expect(terminal[1]).toBe("abort/1: authority_loss");
    await rig.pass(5_000);
    // What still goes out cuts and closes, under the epoch it belongs to: a receiver that knows the new floor refuses it.
    const late = call.sent.slice(sent).map((m) => (m.kind === "control" ? m.signal : m.kind));
    expect(late).toEqual(["fence", "deauthorized_drain", "abort", "close"]);
  });

  test("at the provider gateway: work of the old epoch is not begun", async () => {
    const { rig, call } = await rotatedCall();
    call.line.speak(speech(300));
    await rig.until(() => call.signals.includes("turn_open/2"));
    await rig.pass(200);
    const before = rig.gateway.counters();
    const outcomes: string[] = [];
    const request = { invocationId: "old-1", modality: "llm", provider: "sim/llm", settings: {} } as const;
    rig.gateway.open(
      {
        ...request,
        attemptTimeoutMs: 1_000,
        idempotencyKey: "",
        tenantId: call.session.config.tenantId,
        sessionId: "rotated",
        epoch: OLD,
        turn: 2,
        generation: 1,
      },
      { chunk: () => outcomes.push("chunk"), outcome: (o) => outcomes.push(`${o.kind}: ${o.detail}`) },
    );
    await rig.pass(1_000);
    expect(outcomes.length).toBe(1);
    expect(outcomes[0]).toMatch(/^error: stale_epoch/);
    expect(rig.gateway.counters().refusedStaleEpoch).toBe(before.refusedStaleEpoch + 1);
  });

  test("at the spool: the old epoch's stream is closed for good, also for a process that starts anew", async () => {
    const { rig, call } = await rotatedCall();
    const old = { tenantId: call.session.config.tenantId, sessionId: "rotated", epoch: OLD };
    await rig.until(() => call.line.deliveries().some((d) => d.turn === 1 && d.phase === "completed"));
    const { appended } = rig.spool.marks(old);
    expect(rig.spool.append(old, "evidence", "{}", true)).toMatchObject({ ok: false, code: "stale_epoch" });
    rig.spool.line(old, "journal", "{}");
    rig.spool.flush(old);
    expect(rig.spool.marks(old).appended).toBe(appended);
    expect(rig.spool.verify().ok).toBe(true);
    const reserved = rig.runtime.openSession({
      config: simConfig("rotated", { stt: { transcripts: [] } }),
      transport: { send: () => {} },
    });
    expect(reserved.ok).toBe(false);
  });
});
