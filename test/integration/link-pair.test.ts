import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { afterEach, describe, expect, test } from "vitest";
import { audio, constantsOf, expectOk, fence, marks, type Rig, rigUp, signal, until } from "./link-rig.ts";

let rig: Rig | undefined;
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

describe("a pair over loopback sockets", () => {
  test("a session is bound by one end and known at the other; both ends send; the order of a lane is kept", async () => {
    rig = await rigUp();
    const { adapter, runtime, client } = rig;
    const a = adapter.bind(client.end, "s-1");
    for (let n = 1; n <= 200; n++) expectOk(a.port.sendMedia(audio("s-1", n)));
    await until(() => a.bound && marks(runtime.seen("s-1")).length === 200, "200 frames at the runtime");
    const r = runtime.seen("s-1");
    expect(marks(r)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(r.port.constants).toEqual(constantsOf("s-1"));
    for (let n = 1; n <= 200; n++) expectOk(r.port.sendMedia(audio("s-1", n, { turn: 1 }), n === 1));
    await until(() => marks(a).length === 200, "200 frames at the adapter");
    expect(marks(a)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    a.port.unbind("disconnected");
    await until(() => r.closed !== null, "the end at the runtime");
    expect(r.closed).toMatchObject({ by: "peer" });
    expect([...adapter.notices, ...runtime.notices]).toEqual([]);
  });

  test("what does not fit the binding is refused before it takes a sequence", async () => {
    rig = await rigUp();
    const a = rig.adapter.bind(rig.client.end, "s-1");
    expect(a.port.sendMedia(audio("s-2", 1))).toMatchObject({ ok: false, error: { kind: "invalid" } });
    expect(a.port.sendControl(fence(), { class: "positioned" })).toMatchObject({
      ok: false,
      error: { kind: "invalid" },
    });
    expect(expectOk(a.port.sendMedia(audio("s-1", 1)))).toBe(1);
    const bad = rig.client.end.bind({ ...constantsOf(""), session: "" }, { onEvent: () => undefined });
    expect(bad).toMatchObject({ ok: false, error: { reason: "schema_validation_error" } });
  });

  test("a taker that throws breaks its own session off, at both ends, and no other", async () => {
    rig = await rigUp();
    const { adapter, runtime, client } = rig;
    const bad = adapter.bind(client.end, "bad");
    const good = adapter.bind(client.end, "good");
    runtime.onEvent = (seen) => {
      if (seen.port.constants.session === "bad") throw new Error("a defect");
    };
    bad.port.sendMedia(audio("bad", 1));
    await until(() => bad.broken !== null && runtime.seen("bad").broken !== null, "the break at both ends");
    good.port.sendMedia(audio("good", 1));
    await until(() => marks(runtime.seen("good")).length === 1, "the other session goes on");
    expect(runtime.noticed("handler_failed").length).toBe(1);
  });
});

describe("control and media are two connections", () => {
  test("a cancel overtakes a media connection that takes nothing; what it cuts never arrives, and its credit comes back", async () => {
    rig = await rigUp();
    const { adapter, runtime, client, media } = rig;
    const a = adapter.bind(client.end, "s-1");
    await until(() => runtime.sessions.has("s-1"), "the session at the runtime");
    const r = runtime.seen("s-1");
    r.port.sendMedia(audio("s-1", 1, { turn: 1, generation: 1 }), true);
    await until(() => marks(a).length === 1, "the first frame");
    media.stall(true);
    // Credit for 5 s of audio: all of it is sent, most of it waits in the outbox.
    for (let n = 2; n <= 400; n++) r.port.sendMedia(audio("s-1", n, { turn: 1, generation: 1 }));
    await until(() => rig!.runtimeEnd().stats.outboxItems > 50, "a stuffed outbox");
    const atMs = performance.now();
    r.port.sendControl(fence(), { class: "overtaking", cutoff: { turn: 1, generation: 2, olderTurns: true } });
    await until(() => a.events.some((e) => e.kind === "overtaking"), "the fence");
    const tookMs = performance.now() - atMs;
    expect(rig.runtimeEnd().stats.outboxItems).toBeLessThanOrEqual(2);
    const before = marks(a).length;
    media.stall(false);
    for (let n = 1001; n <= 1200; n++) r.port.sendMedia(audio("s-1", n, { turn: 2, generation: 1 }));
    await until(() => marks(a).includes(1200), "the next turn, in full");
    expect(marks(a).slice(before)).toEqual(Array.from({ length: 200 }, (_, i) => 1001 + i));
    expect(a.events.some((e) => e.kind === "gap")).toBe(false);
    expect(a.events.some((e) => e.kind === "skipped" && e.reason === "fenced")).toBe(true);
    expect(tookMs).toBeLessThan(100);
  });

  test("end of utterance acts after every frame before it, on a slow media connection too, unless it takes 40 ms", async () => {
    rig = await rigUp();
    const { adapter, runtime, client, media } = rig;
    const sessions = Array.from({ length: 20 }, (_, i) => adapter.bind(client.end, `s-${i}`));
    for (let round = 1; round <= 10; round++) {
      for (const { port } of sessions) {
        const { session } = port.constants;
        for (let n = 1; n <= 7; n++) expectOk(port.sendMedia(audio(session, round * 10 + n)));
        expectOk(
          port.sendControl(signal(session, "end_of_utterance", 0, { lastMediaSequence: round * 7 }), {
            class: "positioned",
          }),
        );
      }
      await until(
        () => sessions.every((s) => positioned(s.port.constants.session).length === round),
        "all utterances end",
      );
    }
    function positioned(session: string) {
      return (rig!.runtime.sessions.get(session)?.events ?? []).filter((e) => e.kind === "positioned");
    }
    for (const { port } of sessions) {
      const seen = runtime.seen(port.constants.session);
      let data = 0;
      for (const event of seen.events) {
        if (event.kind === "event") data++;
        else if (event.kind === "positioned") expect([event.forced, data]).toEqual([false, event.lastMediaSeq]);
      }
    }
    media.stall(true);
    const [first] = sessions;
    const { session } = first!.port.constants;
    first!.port.sendMedia(audio(session, 999), true);
    first!.port.sendControl(signal(session, "end_of_utterance", 0, { lastMediaSequence: 71 }), { class: "positioned" });
    await until(() => positioned(session).length === 11, "forced after 40 ms");
    expect(positioned(session).at(-1)).toMatchObject({ forced: true });
    media.stall(false);
    await until(() => marks(runtime.seen(session)).includes(999), "the late frame is not lost");
  });

  test.each(["control", "media"] as const)(
    "when the %s connection dies, the pair dies, and a new one comes up",
    async (which) => {
      rig = await rigUp();
      const { adapter, runtime, client } = rig;
      const a = adapter.bind(client.end, "s-1");
      a.port.sendMedia(audio("s-1", 1), true);
      await until(() => runtime.sessions.has("s-1") && marks(runtime.seen("s-1")).length === 1, "a frame");
      const r = runtime.seen("s-1");
      rig[which].cut();
      await until(() => a.broken !== null && r.broken !== null, "the break at both ends");
      expect(a.broken?.reason).toBe("pair_dead");
      expect(r.broken?.acted.data).toBe(1);
      expect(a.port.sendMedia(audio("s-1", 2))).toMatchObject({ ok: false });
      await client.ready(5_000);
      expect(client.end.stats).toMatchObject({ phase: "up", incarnation: 2 });
      const again = adapter.bind(client.end, "s-1");
      again.port.sendMedia(audio("s-1", 2), true);
      await until(
        () => runtime.seen("s-1") !== r && marks(runtime.seen("s-1")).includes(2),
        "the session on the new pair",
      );
    },
  );
});

test("an end that drains says so, and its sessions go on until the peer has taken them elsewhere", async () => {
  rig = await rigUp();
  const { adapter, runtime, client } = rig;
  const a = adapter.bind(client.end, "s-1");
  await until(() => runtime.sessions.has("s-1"), "the session");
  rig.runtimeEnd().goAway(Reason.DRAINING, 30_000);
  await until(() => adapter.goAways.length === 1, "the word of it");
  expect(adapter.goAways[0]).toMatchObject({ reason: Reason.DRAINING, deadlineMs: 30_000 });
  a.port.sendMedia(audio("s-1", 1), true);
  await until(() => marks(runtime.seen("s-1")).length === 1, "a frame after it");
});

describe("bounds", () => {
  test("a reader that consumes nothing costs its own session's credit, bounded; its neighbour is not delayed", async () => {
    rig = await rigUp();
    const { adapter, runtime, client } = rig;
    const slow = adapter.bind(client.end, "slow");
    const other = adapter.bind(client.end, "other");
    await until(() => runtime.sessions.size === 2, "both sessions");
    runtime.seen("slow").consume = false;
    for (let n = 1; n <= 3_000; n++) slow.port.sendMedia(audio("slow", n));
    for (let n = 1; n <= 200; n++) {
      other.port.sendMedia(audio("other", n));
      if (n % 20 === 0) await until(() => marks(runtime.seen("other")).length === n, "the neighbour's frames");
    }
    const got = marks(runtime.seen("slow"));
    // 5 s of credit are 250 frames; the rest was dropped oldest first from the bounded queue, and said so.
    expect(got.length).toBeLessThanOrEqual(250);
    expect(adapter.notices.some((n) => n.kind === "dropped" && n.reason === "overflow")).toBe(true);
    expect(client.end.stats.outboxItems).toBe(0);
    runtime.seen("slow").consume = true;
    runtime.seen("slow").port.consumed(got.length * 20_000, got.length * 640);
    await until(() => marks(runtime.seen("slow")).includes(3_000), "the newest arrives once credit is back");
    const all = marks(runtime.seen("slow"));
    expect(all).toEqual([...all].sort((x, y) => x - y));
  });
});
