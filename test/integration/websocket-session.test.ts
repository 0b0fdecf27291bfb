/** The native WebSocket protocol between the shipped server and the shipped client, over a session by hand. */
import { readFileSync } from "node:fs";
import { createOpusDecoder, createOpusEncoder } from "@rspp/audio/opus";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import { afterEach, describe, expect, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import {
  claimsOf,
  FakeSession,
  join,
  openFake,
  type Seen,
  tokenOf,
  toneFrames,
  until,
  type WsRig,
} from "./websocket-rig.ts";

let rig: WsRig | null = null;
let seen: Seen[] = [];

afterEach(async () => {
  for (const { client } of seen) client.end();
  seen = [];
  await rig?.transport.close();
  rig = null;
});

async function call(
  id: string,
  options: Parameters<typeof join>[2] = {},
): Promise<{ seen: Seen; session: FakeSession; rig: WsRig }> {
  rig ??= await openFake();
  const joined = await join(rig.transport.url, tokenOf(id), options);
  seen.push(joined);
  return { seen: joined, session: rig.session(id), rig };
}

/** One answered turn, ten frames long. */
function answer(session: FakeSession, turn: number): void {
  session.control("turn_open", turn);
  session.text(0, "user", `question ${turn}`);
  session.text(turn, "assistant", `answer ${turn}`);
  session.media(turn, 1, 10, { end: true });
  session.control("commit", turn, { lastDataSequence: 10 });
  session.control("close", turn);
}

describe("a session over WebSocket", () => {
  test("F-084 audio, events, end of turn and delivery both ways", async () => {
    const { seen, session } = await call("turn");
    expect(session.signals()).toEqual(["connected"]);
    for (const frame of toneFrames(200)) seen.client.sendAudio(frame);
    seen.client.endOfUtterance();
    await until(() => session.signals().includes("end_of_utterance"), "the signal");
    const audio = session.audio();
    expect(audio.map((a) => a.sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(audio.map((a) => a.mediaUs)).toEqual(audio.map((_, i) => i * 20_000));
    const first = toneFrames(20)[0]!;
    expect(audio[0]?.bytes).toEqual(new Uint8Array(first.buffer, first.byteOffset, first.byteLength));
    const said = session.received.find((m) => m.kind === "control" && m.signal === "end_of_utterance");
    expect(said).toMatchObject({ controlClass: "positioned", lastMediaSequence: 10 });
    answer(session, 1);
    await until(() => session.deliveries().includes("completed/1"), "the delivery");
    expect(seen.audio.map((f) => f.sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(seen.turns.map((t) => t.phase)).toEqual(["open", "commit", "close"]);
    expect(seen.texts.map((t) => [t.role, t.text, t.final])).toEqual([
      ["user", "question 1", true],
      ["assistant", "answer 1", true],
    ]);
    expect(session.deliveries().slice(0, 2)).toEqual(["accepted/1", "started/1"]);
    const done = session.received.find((m) => m.kind === "delivery" && m.state === "completed");
    expect(done).toMatchObject({ playedUs: 200_000 });
  });

  test("F-084 F-089 mute, unmute, stop, DTMF and the end arrive in their class and order", async () => {
    const { seen, session } = await call("signals");
    seen.client.mute();
    seen.client.unmute();
    seen.client.dtmf("12#");
    seen.client.stop();
    seen.client.end();
    await until(() => session.signals().includes("ended"), "the end");
    const controls = session.received.flatMap((m) => (m.kind === "control" ? [m] : []));
    expect(controls.map((m) => [m.signal, m.controlClass])).toEqual([
      ["connected", "overtaking"],
      ["mute", "positioned"],
      ["unmute", "positioned"],
      ["dtmf", "positioned"],
      ["stop", "overtaking"],
      ["ended", "positioned"],
    ]);
    expect(controls[3]?.fields).toEqual({ "dtmf.digits": "12#" });
    expect(controls[4]).toMatchObject({ reason: "user_cancel", fields: { scope: "session" } });
    session.close("caller_hangup");
    expect(await seen.client.ended).toBe("caller_hangup");
  });

  test("F-033 F-175 a barge-in flushes inside the client: nothing is heard after the flush, and what was played is said", async () => {
    const { seen, session, rig } = await call("barge");
    const heardAfter: number[] = [];
    for (let turn = 1; turn <= 20; turn++) {
      session.control("turn_open", turn);
      session.media(turn, 1, 60);
      const before = seen.audio.length;
      await until(() => seen.audio.length > before + (turn % 4), "some of the answer");
      session.fence(turn);
      // What the runtime still has under way is refused at the adapter.
      session.media(turn, 61, 5);
      await until(() => session.received.some((m) => m.kind === "fence_ack" && m.turn === turn), "the acknowledgement");
      const at = seen.audio.length;
      const ack = session.received.find((m) => m.kind === "fence_ack" && m.turn === turn);
      if (ack?.kind !== "fence_ack") throw new Error("no acknowledgement");
      expect(ack.flushed).toBeGreaterThan(0);
      const frames = seen.audio.filter((f) => f.turn === turn).length;
      expect(ack.playedUs).toBeGreaterThan((frames - 1) * 20_000 - 1);
      expect(ack.playedUs).toBeLessThanOrEqual(frames * 20_000);
      // Longer than a frame: whatever was left would be heard in it.
      const from = performance.now();
      await until(() => performance.now() - from > 25, "a frame's length");
      heardAfter.push(seen.audio.length - at);
    }
    expect(heardAfter).toEqual(Array.from({ length: 20 }, () => 0));
    expect(session.deliveries().filter((d) => d.startsWith("cancelled/")).length).toBe(20);
    expect(rig.transport.session("barge")).toMatchObject({ refused: { fenced: 100 }, fences: 20, fencesUnanswered: 0 });
  });

  test("F-033 output held is not heard until it is resumed", async () => {
    const { seen, session } = await call("hold");
    session.control("turn_open", 1);
    session.control("output_hold", 1, {}, "candidate_speech");
    await until(() => seen.controls.some((c) => c.signal === "output_hold"), "the hold");
    session.media(1, 1, 5, { end: true });
    session.text(1, "assistant", "after the audio");
    await until(() => seen.texts.length === 1, "the text");
    const from = performance.now();
    await until(() => performance.now() - from > 100, "longer than the audio");
    expect(seen.audio.length).toBe(0);
    session.control("output_resume", 1, {}, "false_alarm");
    await until(() => session.deliveries().includes("completed/1"), "the delivery");
    expect(seen.audio.length).toBe(5);
  });

  test("F-156 F-175 output of an old or ungranted epoch is refused; a grant raises the floor", async () => {
    const { seen, session, rig } = await call("epoch");
    session.transport.send({
      kind: "text",
      epoch: 0,
      turn: 1,
      role: "assistant",
      text: "old",
      final: true,
      segment: 0,
      revision: 0,
    });
    session.transport.send({
      kind: "text",
      epoch: 2,
      turn: 1,
      role: "assistant",
      text: "new",
      final: true,
      segment: 0,
      revision: 0,
    });
    expect(rig.transport.raiseEpoch("epoch", 2)).toBe(true);
    expect(rig.transport.raiseEpoch("epoch", 1)).toBe(false);
    session.transport.send({
      kind: "text",
      epoch: 2,
      turn: 1,
      role: "assistant",
      text: "granted",
      final: true,
      segment: 0,
      revision: 0,
    });
    session.text(1, "assistant", "of epoch 1");
    await until(() => seen.texts.length > 0, "the text");
    expect(seen.texts.map((t) => t.text)).toEqual(["granted"]);
    expect(rig.transport.session("epoch")?.refused).toMatchObject({ stale_epoch: 2, ungranted_epoch: 1 });
  });
});

/** Everything a client saw, less ids that are its own. */
function events({ seen }: { seen: Seen }): unknown {
  return {
    texts: seen.texts,
    turns: seen.turns,
    controls: seen.controls,
    audio: seen.audio.map((f) => ({ ...f, data: [...f.data] })),
  };
}

describe("encodings and compression", () => {
  test("F-030 binary and JSON give the same decoded events, and the session the same input", async () => {
    const binary = await call("enc-binary", { encoding: "binary" });
    const json = await call("enc-json", { encoding: "json" });
    for (const { seen, session } of [binary, json]) {
      for (const frame of toneFrames(100)) seen.client.sendAudio(frame);
      seen.client.endOfUtterance();
      await until(() => session.signals().includes("end_of_utterance"), "the signal");
      answer(session, 1);
      session.control("barge_in", 0, { scope: "session" }, "barge_in");
      await until(() => session.deliveries().includes("completed/1"), "the delivery");
    }
    expect(events(json)).toEqual(events(binary));
    const input = ({ session }: { session: FakeSession }): unknown =>
      session.received.filter((m) => m.kind !== "delivery" || m.state !== "progress");
    expect(input(json)).toEqual(input(binary));
  });

  test("F-031 compression lowers the bytes on the wire, is measured, and changes no event", async () => {
    const speech = (await wavTo16kMono(parseWav(readFileSync(questionPath("story"))))).slice(0, 30 * 320);
    for (const encoding of ["binary", "json"] as const) {
      const results: { events: unknown; wire: number; writeNs: number }[] = [];
      for (const compression of [true, false]) {
        rig = await openFake({ compression });
        const { seen, session } = await call(`comp-${compression}`, { encoding });
        session.sound = speech;
        session.control("turn_open", 1);
        session.text(1, "assistant", "once upon a time");
        session.media(1, 1, 30, { end: true });
        await until(() => session.deliveries().includes("completed/1"), "the delivery");
        const { wireBytesOut, writeNs } = rig.transport.stats();
        results.push({ events: events({ seen }), wire: wireBytesOut, writeNs });
        seen.client.end();
        await rig.transport.close();
        rig = null;
      }
      const [on, off] = results;
      expect(on?.events).toEqual(off?.events);
      expect(on!.wire).toBeLessThan(off!.wire * (encoding === "json" ? 0.8 : 0.9));
      expect(on!.writeNs).toBeGreaterThan(0);
      console.log(`${encoding}: ${off!.wire} bytes, compressed ${on!.wire}`);
    }
  });

  test("F-090 Opus both ways: packets of 20 ms, whole and padded, decoded to the length that was spoken", async () => {
    const format = { codec: "opus", rateHz: 48_000, channels: 1 } as const;
    const { seen, session } = await call("codec-opus", { inputFormat: format, outputFormat: format });
    const encoder = createOpusEncoder({ rateHz: 48_000, channels: 1 });
    for (let i = 0; i < 10; i++) seen.client.sendAudio(encoder.encode(new Int16Array(960).fill(i * 100)));
    seen.client.sendAudio(new Uint8Array([255, 255, 255]));
    seen.client.endOfUtterance();
    await until(() => session.signals().includes("end_of_utterance"), "the signal");
    expect(session.audio().length).toBeGreaterThanOrEqual(10);
    answer(session, 1);
    await until(() => session.deliveries().includes("completed/1"), "the delivery");
    const decoder = createOpusDecoder({ rateHz: 48_000, channels: 1 });
    // The end mark comes by itself where the audio ends with a whole packet.
    const packets = seen.audio.filter((f) => f.data.length > 0);
    expect([packets.length, seen.audio.at(-1)?.end]).toEqual([10, true]);
    expect(packets.reduce((sum, f) => sum + decoder.decode(f.data).length, 0)).toBe(9_600);
  });

  test("F-090 mu-law, A-law, 24 kHz and 48 kHz stereo become 16 kHz mono, and the answer what was asked for", async () => {
    const formats = [
      { codec: "mulaw", rateHz: 8_000, channels: 1, bytes: 160 },
      { codec: "alaw", rateHz: 8_000, channels: 1, bytes: 160 },
      { codec: "pcm_s16le", rateHz: 48_000, channels: 2, bytes: 3_840 },
      { codec: "pcm_s16le", rateHz: 24_000, channels: 1, bytes: 960 },
    ] as const;
    for (const { bytes, ...format } of formats) {
      const { seen, session } = await call(`codec-${format.codec}-${format.rateHz}`, {
        inputFormat: format,
        outputFormat: { ...format, channels: 1 },
      });
      for (let i = 0; i < 10; i++) seen.client.sendAudio(new Uint8Array(bytes).fill(0x80));
      seen.client.endOfUtterance();
      await until(() => session.signals().includes("end_of_utterance"), "the signal");
      // The eleventh holds the tail of the filter.
      expect(session.audio().length).toBe(11);
      expect(session.audio().every((a) => a.bytes.length === 640 && a.format.rateHz === 16_000)).toBe(true);
      answer(session, 1);
      await until(() => session.deliveries().includes("completed/1"), "the delivery");
      const total = seen.audio.reduce((sum, f) => sum + f.data.byteLength, 0);
      expect(total).toBe((bytes * 10) / format.channels);
      expect(seen.audio.every((f) => f.format.codec === format.codec && f.format.rateHz === format.rateHz)).toBe(true);
      const done = session.received.find((m) => m.kind === "delivery" && m.state === "completed");
      expect(done).toMatchObject({ playedUs: 200_000 });
    }
  });
});

describe("resume", () => {
  test("F-091 F-158 a client cut in the middle goes on in the same session: every final once, in order, no audio doubled", async () => {
    const { seen, session, rig } = await call("resume", { pingMs: 50 });
    let sent = 0;
    const speak = (frames: number): void => {
      for (let i = 0; i < frames; i++) {
        sent += 1;
        seen.client.sendAudio(new Int16Array(320).fill(sent));
      }
    };
    for (let round = 0; round < 5; round++) {
      speak(5);
      session.text(0, "user", `final ${round}.1`);
      seen.client.cut();
      // Both sides go on while nobody is connected.
      speak(5);
      session.text(0, "user", `final ${round}.2`);
      session.media(round + 1, 1, 3, { end: true });
      await until(() => rig.transport.stats().resumed === round + 1, "the resume");
      session.text(0, "user", `final ${round}.3`);
      await until(() => seen.texts.some((t) => t.text === `final ${round}.3`), "the text");
    }
    await until(() => session.audio().length === sent, "all audio");
    expect(session.audio().map((a) => new Int16Array(a.bytes.slice().buffer)[0])).toEqual(
      Array.from({ length: sent }, (_, i) => i + 1),
    );
    const finals = Array.from({ length: 5 }, (_, r) => [1, 2, 3].map((n) => `final ${r}.${n}`)).flat();
    expect(seen.texts.map((t) => t.text)).toEqual(finals);
    await until(() => session.deliveries().includes("completed/5"), "what was said meanwhile is heard");
    expect(session.signals()).toEqual([
      "connected",
      ...Array.from({ length: 5 }, () => ["reconnecting", "connected"]).flat(),
    ]);
    expect(seen.client.resumes).toBe(5);
    expect(rig.audits.map((a) => a.kind)).toEqual([
      "opened",
      ...Array.from({ length: 5 }, () => ["waiting", "resumed"]).flat(),
    ]);
  });

  test("F-091 a turn cut while the client was away is not replayed", async () => {
    const { seen, session, rig } = await call("away-fence", { pingMs: 50 });
    seen.client.cut();
    await until(() => session.signals().includes("reconnecting"), "the cut");
    session.media(1, 1, 50);
    session.fence(1);
    session.text(1, "assistant", "after");
    await until(() => seen.texts.length === 1, "the text");
    expect(seen.audio.filter((f) => f.turn === 1).length).toBe(0);
    expect(session.received).toContainEqual({
      kind: "fence_ack",
      epoch: 1,
      turn: 1,
      generation: 1,
      playedUs: 0,
      flushed: 0,
    });
    expect(seen.flushes).toMatchObject([{ turn: 1, generation: 1 }]);
    expect(rig.transport.session("away-fence")).toMatchObject({ fencesUnanswered: 1 });
  });

  test("F-091 a client that stays away is given up: the session is told, the state is gone, coming back is refused", async () => {
    rig = await openFake({ resumeWithinMs: 100 });
    const { seen, session } = await call("gone", { resume: false });
    seen.client.cut();
    await until(() => session.signals().includes("reconnecting"), "the cut");
    await until(() => {
      rig?.transport.sweep();
      return session.signals().includes("ended");
    }, "the end");
    expect(session.signals()).toEqual(["connected", "reconnecting", "disconnected", "ended"]);
    expect(rig.transport.stats()).toMatchObject({ sessions: 0, givenUp: 1 });
    expect(rig.audits.map((a) => a.kind)).toEqual(["opened", "waiting", "given_up"]);
  });

  test("F-091 what ended while the client was away is told when it comes back", async () => {
    const { seen, session } = await call("ended-away", { pingMs: 50 });
    seen.client.cut();
    await until(() => session.signals().includes("reconnecting"), "the cut");
    session.text(1, "assistant", "goodbye");
    session.close("agent_hangup");
    expect(await seen.client.ended).toBe("agent_hangup");
    expect(seen.texts.map((t) => t.text)).toEqual(["goodbye"]);
  });

  test("F-088 the key admits to its own session only, an expired token too, a foreign one never", async () => {
    const { session, rig } = await call("bound");
    expect(session.request.claims).toMatchObject({ tenant: "acme", session: "bound" });
    await expect(join(rig.transport.url, "bad:token")).rejects.toMatchObject({ serverReason: "token_invalid" });
    await expect(join(rig.transport.url, tokenOf("late", -1))).rejects.toMatchObject({ serverReason: "token_expired" });
    await expect(join(rig.transport.url, tokenOf("bound"))).rejects.toMatchObject({ serverReason: "already_exists" });
    expect(rig.transport.stats().refused).toEqual({ token_invalid: 1, token_expired: 1, already_exists: 1 });
  });

  test("F-088 sessions of two tenants may have one id, and a token that comes twice at once opens one session", async () => {
    let asked = 0;
    let go: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    rig = await openFake({
      openSession: async (request) => {
        asked += 1;
        await gate;
        const { tenant, session: sessionId, pipelineVersion } = request.claims;
        return { ok: true, value: { session: new FakeSession(request), epoch: 1, tenant, sessionId, pipelineVersion } };
      },
    });
    const { url } = rig.transport;
    const other = `good:${JSON.stringify({ ...claimsOf("same"), tenant: "globex" })}`;
    const joins = [tokenOf("same"), tokenOf("same"), other].map((token) => join(url, token));
    const ends = Promise.allSettled(joins);
    await until(() => asked >= 2 && (rig?.transport.stats().refused.already_exists === 1 || asked === 3), "all three");
    go();
    for (const end of await ends) if (end.status === "fulfilled") seen.push(end.value);
    expect([asked, seen.length]).toEqual([2, 2]);
    expect(rig.transport.stats()).toMatchObject({ sessions: 2, refused: { already_exists: 1 } });
  });

  test("F-088 a session that is not what the token binds is ended, and the client refused", async () => {
    const ended: string[] = [];
    rig = await openFake({
      openSession: async ({ claims }) => {
        const session = { receive: (m: { kind: string; signal?: string }) => void (m.signal && ended.push(m.signal)) };
        const { session: sessionId, pipelineVersion } = claims;
        return { ok: true, value: { session, epoch: 1, tenant: "other", sessionId, pipelineVersion } };
      },
    });
    await expect(join(rig.transport.url, `good:${JSON.stringify(claimsOf("x"))}`)).rejects.toMatchObject({
      serverReason: "permission_denied",
    });
    expect(ended).toEqual(["connected", "ended"]);
  });
});
