/** The telephone adapter and a strict carrier, over real sockets, with the session by hand. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AUTH_TOKEN, CarrierCall, post, stream } from "../fakes/twilio/carrier.ts";
import { parseTwiml } from "../fakes/twilio/twiml.ts";
import { heardByTurn, openPhone, type PhoneRig } from "./telephony-rig.ts";
import { tokenOf, toneFrames, until } from "./websocket-rig.ts";

let rig: PhoneRig;
beforeAll(async () => {
  rig = await openPhone({ resumeWithinMs: 1_000 });
});
afterAll(() => rig.transport.close());

const stats = (id: string) => {
  const found = rig.transport.call(id);
  if (found === null) throw new Error(`no call ${id}`);
  return found;
};
const samplesOf = (bytes: Uint8Array): Int16Array => new Int16Array(bytes.slice().buffer);
const loud = (bytes: Uint8Array): boolean => samplesOf(bytes).some((sample) => Math.abs(sample) > 4_000);

describe("calls that come in", () => {
  test("F-085 F-090 a call is answered, heard and spoken to, and ends in order", async () => {
    const { carrier, session } = await rig.call("both-ways");
    expect(rig.incoming.at(-1)).toMatchObject({ from: "+15550199", to: "+15550100", callSid: carrier.callSid });
    for (const tone of toneFrames(400)) await carrier.say(tone);
    await until(() => session.audio().filter(({ bytes }) => loud(bytes)).length >= 15, "the tone");
    const audio = session.audio();
    expect(audio.map(({ sequence, mediaUs }) => [sequence, mediaUs])).toEqual(audio.map((_, i) => [i + 1, i * 20_000]));
    session.media(1, 1, 20, { end: true });
    await until(() => session.deliveries().includes("completed/1"), "the delivery");
    expect(heardByTurn(carrier).get(1)).toBe(400_000);
    session.close();
    await until(() => carrier.closed !== null, "the end");
    expect([carrier.closed, carrier.violations]).toEqual([{ code: 1000, reason: "completed" }, []]);
    expect((await carrier.next()).verbs).toEqual(["Hangup"]);
    expect(rig.audits.filter((a) => a.session === "both-ways").map((a) => a.kind)).toEqual(["opened", "closed"]);
  });

  test("F-085 the last words are heard before the stream ends", async () => {
    const { carrier, session } = await rig.call("last-words");
    session.media(1, 1, 40, { end: true });
    session.close();
    await until(() => carrier.closed !== null, "the end");
    expect(heardByTurn(carrier).get(1)).toBe(800_000);
    expect(session.deliveries().at(-1)).toBe("completed/1");
  });

  test("F-089 keys are control of the transport, namespaced, each after what was said before it", async () => {
    const { carrier, session } = await rig.call("keys");
    carrier.press("4*#");
    await until(() => session.signals().filter((name) => name === "dtmf").length === 3, "the keys");
    const keys = session.received.flatMap((m) => (m.kind === "control" && m.signal === "dtmf" ? [m] : []));
    expect(keys.map(({ fields }) => fields)).toEqual(["4", "*", "#"].map((digit) => ({ "telephony.digit": digit })));
    expect(
      keys.every(
        ({ controlClass, lastMediaSequence }) => controlClass === "positioned" && lastMediaSequence !== undefined,
      ),
    ).toBe(true);
    await carrier.hangUp();
    await until(() => session.signals().includes("ended"), "the end");
    expect(session.signals().filter((name) => name === "ended")).toHaveLength(1);
  });

  test("F-033 F-039 forty barge-ins: silence at the carrier, nothing of a cut turn after its clear, heard as reported", async () => {
    const { carrier, session } = await rig.call("barge-in");
    let off = 0;
    const silentMs: number[] = [];
    for (let turn = 1; turn <= 40; turn++) {
      session.media(turn, 1, 100);
      await until(() => (heardByTurn(carrier).get(turn) ?? 0) >= 40_000 + (turn % 7) * 20_000, "the sound");
      const clears = carrier.playout.got.length;
      const cutMs = performance.now();
      session.fence(turn);
      const cleared = () => carrier.playout.got.slice(clears).find(({ kind }) => kind === "clear");
      await until(() => cleared() !== undefined, "the clear");
      silentMs.push((cleared()?.atMs ?? 0) - cutMs);
      const heardUs = heardByTurn(carrier).get(turn) ?? 0;
      const ack = session.received.findLast((m) => m.kind === "fence_ack" && m.turn === turn);
      if (ack?.kind !== "fence_ack") throw new Error("no acknowledgement");
      off = Math.max(off, Math.abs(ack.playedUs - heardUs));
      session.media(turn, 101, 3);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    // After each clear comes nothing of the turn that it cut.
    let cleared = 0;
    for (const { kind, name } of carrier.playout.got) {
      if (kind === "clear") cleared += 1;
      if (kind === "mark") expect(Number(name.split(".")[0])).toBe(cleared + 1);
    }
    expect([cleared, carrier.violations]).toEqual([40, []]);
    expect(stats("barge-in").refused.fenced).toBe(120);
    silentMs.sort((a, b) => a - b);
    console.log(
      `fence to silence at the carrier, 40 times: p50 ${silentMs[19]?.toFixed(1)} ms, p95 ${silentMs[37]?.toFixed(1)} ms`,
    );
    expect(silentMs[37]).toBeLessThan(150);
    expect(off, "microseconds between what was reported and what was heard").toBeLessThanOrEqual(80_000);
    await carrier.hangUp();
  }, 60_000);
});

describe("the network between", () => {
  test("F-087 5 % lost, 200 ms of jitter, odd sizes: media time has no hole, each loss is made up for, delay is bounded", async () => {
    const lossy = await openPhone({ jitter: "lossy" });
    const { carrier, session } = await lossy.call("lossy", {
      loss: 0.05,
      jitterMs: 200,
      chunkBytes: [160, 77, 240, 161],
      seed: 7,
    });
    await until(() => session.audio().length >= 200, "four seconds");
    const audio = session.audio();
    expect(audio.map(({ sequence }) => sequence)).toEqual(audio.map((_, i) => i + 1));
    expect(audio.map(({ mediaUs }) => mediaUs)).toEqual(audio.map((_, i) => i * 20_000));
    const { jitter } = lossy.transport.call("lossy") ?? {};
    expect(jitter?.lost).toBeGreaterThan(0);
    expect(jitter?.reordered).toBeGreaterThan(10);
    expect(jitter?.concealedMs).toBeGreaterThan(0);
    expect(jitter?.waitedMsMax).toBeLessThan(300);
    await carrier.hangUp();
    await lossy.transport.close();
  });

  test("F-091 a stream that is cut waits, goes on where it stood, and is given up in time", async () => {
    const { carrier, session } = await rig.call("cut");
    session.media(1, 1, 50, { end: true });
    await until(() => (heardByTurn(carrier).get(1) ?? 0) >= 100_000, "the sound");
    carrier.cut();
    await until(() => session.signals().includes("reconnecting"), "the waiting state");
    expect(rig.transport.stats().waiting).toBe(1);
    const again = await carrier.next();
    expect(again.verbs).toEqual(["Connect", "Redirect"]);
    await until(() => session.deliveries().includes("completed/1"), "the rest of the answer");
    expect(session.signals()).toEqual(["connected", "reconnecting", "connected"]);
    carrier.cut();
    await until(() => session.signals().includes("ended"), "the end", 5_000);
    expect(session.signals().slice(3)).toEqual(["reconnecting", "disconnected", "ended"]);
    expect(
      parseTwiml(await (await post(carrier.answered?.redirect ?? "", { CallSid: carrier.callSid })).text()).verbs,
    ).toEqual(["Hangup"]);
    expect(rig.audits.filter((a) => a.session === "cut").map((a) => a.kind)).toEqual([
      "opened",
      "waiting",
      "resumed",
      "waiting",
      "given_up",
    ]);
  });

  test("F-086 a line that goes dead is a stall, which a caller who says nothing is not", async () => {
    const { carrier, session } = await rig.call("dead");
    carrier.silence(true);
    await until(() => session.signals().includes("stall"), "the stall", 6_000);
    expect(session.signals()).toEqual(["connected", "stall"]);
    await carrier.hangUp();
  });
});

describe("what is refused", () => {
  const endOf = async (call: CarrierCall): Promise<string> => {
    await until(() => call.closed !== null, "the close frame");
    return `${call.closed?.code} ${call.closed?.reason}`;
  };
  /** A socket at the stream's address that has said nothing. */
  const mute = async (authToken?: string): Promise<CarrierCall> => {
    const call = new CarrierCall(authToken === undefined ? {} : { authToken });
    await call.connect(rig.transport.url);
    return call;
  };
  const begun = { event: "connected", protocol: "Call", version: "1.0.0" };

  test("F-088 a stream without a token, or with one that is altered or used, ends by name", async () => {
    expect(await endOf(await stream(rig.transport.url, {}))).toMatch(/^4401 token_invalid/);
    expect(await endOf(await stream(rig.transport.url, { token: "bad" }))).toMatch(/^4401 token_invalid/);
    expect(await endOf(await stream(rig.transport.url, { token: tokenOf("late", -1) }))).toMatch(/^4401 token_expired/);
    const first = await stream(rig.transport.url, { token: tokenOf("twice") });
    await until(() => rig.transport.call("twice") !== null, "the call");
    expect(await endOf(await stream(rig.transport.url, { token: tokenOf("twice") }))).toMatch(/^4403 already_exists/);
    expect(await endOf(await stream(rig.transport.url, { resume: "x" }, { callSid: first.callSid }))).toMatch(
      /^4404 session_not_found/,
    );
    await first.hangUp();
  });

  test("F-085 what is not signed is refused before anything is read", async () => {
    await expect(mute("wrong")).rejects.toThrow(/403/);
    for (const path of ["voice", "next"]) {
      const url = rig.voiceUrl.replace("voice", path);
      const answer = await post(url, { CallSid: "CA1" }, "wrong");
      expect([answer.status, await answer.text()]).toEqual([403, expect.stringMatching(/X-Twilio-Signature/)]);
    }
    const before = rig.incoming.length;
    await expect(rig.call("unsigned", { authToken: "wrong" })).rejects.toThrow(/403/);
    expect(rig.incoming).toHaveLength(before);
    expect((await fetch(rig.voiceUrl)).status).toBe(405);
    expect((await fetch(rig.transport.url.replace("ws", "http"))).status).toBe(426);
    expect((await fetch(rig.voiceUrl.replace("voice", "else"))).status).toBe(404);
    const large = await post(rig.voiceUrl, { CallSid: "x".repeat(70_000) }, AUTH_TOKEN).catch(() => ({ status: 413 }));
    expect(large.status).toBe(413);
  });

  test.each([
    ["no JSON", ["{"], /^4400 malformed_frame/],
    ["bytes", [new Uint8Array([1, 2])], /^1003/],
    [
      "media first",
      [{ event: "media", streamSid: "MZ", media: { chunk: "1", timestamp: "0", payload: "/w==" } }],
      /^4400 out_of_order: media/,
    ],
    ["connected twice", [begun, begun], /^4400 out_of_order: connected/],
    [
      "a start that is none",
      [begun, { event: "start", streamSid: "MZ", start: {} }],
      /^4400 schema_validation_error: start\.callSid/,
    ],
    ["another event", [{ event: "hello" }], /^4400 unknown_event_type/],
    ["too much", ["x".repeat(200_000)], /^1009/],
  ])("%s ends the stream with a code and a reason", async (_what, messages, end) => {
    const call = await mute();
    for (const message of messages) call.raw(message);
    expect(await endOf(call)).toMatch(end);
  });

  test("garbage within a call is passed over, sixteen times; what is late after a stop is counted", async () => {
    const { carrier, session } = await rig.call("garbage");
    for (let i = 0; i < 15; i++) carrier.raw({ event: "dtmf", streamSid: carrier.streamSid, dtmf: { digit: "?" } });
    carrier.press("1");
    await until(() => session.signals().includes("dtmf"), "the key after the garbage");
    carrier.raw("{");
    expect(await endOf(carrier)).toMatch(/^4400 malformed_frame/);
    expect(rig.transport.stats().badMessages).toBeGreaterThanOrEqual(16);
    const other = await rig.call("late");
    other.carrier.stopMessage();
    for (let i = 0; i < 5; i++) other.carrier.sendMedia(new Uint8Array(160).fill(0));
    expect(await endOf(other.carrier)).toBe("1000 stop: the call is over");
    expect(other.session.audio().some(({ bytes }) => loud(bytes))).toBe(false);
  });
});

describe("policies", () => {
  test.each([
    ["talk", ["Connect", "Redirect"], null],
    ["hang_up", ["Hangup"], null],
    ["notice", ["Say", "Hangup"], "Please call us back."],
  ] as const)("X-05 an answering machine is met with %s", async (machine, verbs, said) => {
    const other = await openPhone({ policy: { machine, notice: "Please call us back.", afterUrl: "" } });
    const answer = await post(other.voiceUrl, { CallSid: "CA9", To: "+1", From: "+2", AnsweredBy: "machine_end_beep" });
    const answered = parseTwiml(await answer.text());
    expect([answered.verbs, answered.said]).toEqual([verbs, said]);
    await other.transport.close();
  });

  test("X-05 a cold transfer: what the agent has ended goes on as the application says, what the caller has ended does not", async () => {
    const policy = { machine: "talk", notice: "", afterUrl: "https://app.example.com/after?desk=1" } as const;
    const other = await openPhone({ policy });
    const { carrier, session } = await other.call("transfer");
    session.media(1, 1, 10, { end: true });
    session.close("completed");
    await until(() => carrier.closed !== null, "the end of the stream");
    expect(session.deliveries().at(-1)).toBe("completed/1");
    const to = "https://app.example.com/after?desk=1&tenant=acme&session=transfer&reason=completed";
    expect(await carrier.next()).toMatchObject({ verbs: ["Redirect"], redirect: to });
    const gone = await other.call("hung-up");
    const { redirect } = gone.carrier.answered ?? {};
    await gone.carrier.hangUp();
    await until(() => gone.session.signals().includes("ended"), "the end");
    gone.session.close("caller_hangup");
    expect(parseTwiml(await (await post(redirect ?? "", { CallSid: gone.carrier.callSid })).text()).verbs).toEqual([
      "Hangup",
    ]);
    await other.transport.close();
  });

  test("a number that nobody answers is rejected, and told by name in the counts", async () => {
    const other = await openPhone({ route: () => Promise.resolve({ ok: false, error: { reason: "not_found" } }) });
    const answer = await post(other.voiceUrl, { CallSid: "CA9", To: "+1", From: "+2" });
    expect(parseTwiml(await answer.text()).verbs).toEqual(["Reject"]);
    expect(other.transport.stats().refused).toEqual({ not_found: 1 });
    await other.transport.close();
  });
});
