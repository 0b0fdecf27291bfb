import { asMonoNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import type { Clock } from "@rspp/ports/clock";
import type { TransportEgress, TransportIngress } from "@rspp/ports/transport";
import { afterEach, describe, expect, test } from "vitest";
import { until } from "./link-rig.ts";
import {
  audioIn,
  Caller,
  mediaOut,
  type RemoteRig,
  remoteRig,
  signalIn,
  signGrant,
  tick,
} from "./remote-session-rig.ts";

let rig: RemoteRig | undefined;
afterEach(async () => {
  await rig?.stop();
  rig = undefined;
});

const frames = (messages: readonly TransportIngress[]): number[] =>
  messages.flatMap((m) => (m.kind === "audio" ? [m.sequence] : []));
const signals = (messages: readonly TransportIngress[]): number[] =>
  messages.flatMap((m) => (m.kind === "control" ? [m.sequence] : []));
const media = (messages: readonly TransportEgress[], turn: number): number[] =>
  messages.flatMap((m) => (m.kind === "media" && m.turn === turn ? [m.sequence] : []));
const texts = (messages: readonly TransportEgress[]): string[] =>
  messages.flatMap((m) => (m.kind === "text" ? [m.text] : []));
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function text(epoch: number, n: number): TransportEgress {
  return { kind: "text", epoch, turn: 1, role: "assistant", text: `w${n}`, final: true, segment: n, revision: 0 };
}

describe("a pair that dies", () => {
  test("a session that is not held ends at both ends, with a reason; others open again on the next pair", async () => {
    rig = await remoteRig();
    const one = await rig.open("s-1");
    const two = await rig.open("s-2");
    const notes: unknown[] = [];
    one.end.observe?.(["error"], (note) => notes.push(note));
    one.end.session.receive(audioIn(one.end.epoch, 1));
    await until(() => one.host.heard.length === 1, "a frame");
    rig.line.cut();
    await until(() => one.caller.closed !== null && two.caller.closed !== null, "both ends of both sessions");
    expect([one.caller.closed, two.caller.closed]).toEqual(["transport_disconnect", "transport_disconnect"]);
    expect(notes).toMatchObject([{ kind: "error", code: "dependency_unavailable" }]);
    expect(one.host.heard.at(-1)).toMatchObject({
      kind: "control",
      signal: "ended",
      reason: "connection_lost",
      lastMediaSequence: 1,
    });
    expect(one.host.gone).toBe("connection_lost");
    expect(rig.opener.stats()).toMatchObject({ sessions: 0, lost: 2 });
    expect(rig.sessions.stats()).toMatchObject({ open: 0, waiting: 0 });
    // After the end nothing is heard, and nothing harms.
    one.host.send(mediaOut(one.end.epoch, 1, 0, 1));
    one.end.session.receive(audioIn(one.end.epoch, 2));
    const again = await rig.open("s-3");
    expect(again.end.epoch).toBeGreaterThan(two.end.epoch);
  });

  test("F-158 a session that is held goes on: nothing is lost, nothing comes twice, in neither direction", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host, end } = await rig.open("s-1");
    const { epoch } = end;
    let [audios, controls, outs, words] = [0, 0, 0, 0];
    const burst = (n: number): void => {
      for (let i = 0; i < n; i++) {
        end.session.receive(audioIn(epoch, ++audios));
        host.send(mediaOut(epoch, 1, 0, ++outs));
        if (i % 5 !== 0) continue;
        end.session.receive(signalIn(epoch, ++controls, "end_of_utterance", { lastMediaSequence: audios }));
        host.send(text(epoch, ++words));
      }
    };
    end.observe?.(["metrics"], () => undefined);
    for (let round = 0; round < 4; round++) {
      burst(20);
      await tick();
      burst(10);
      rig.line.cut();
      // Both sides speak while there is no pair.
      burst(25);
      await until(() => rig!.opener.stats().reattached === round + 1, `reattached ${round + 1}`);
      burst(5);
      await until(
        () =>
          frames(host.heard).length >= audios &&
          media(caller.told, 1).length >= outs &&
          texts(caller.told).length >= words &&
          signals(host.heard).length >= controls,
        "everything",
      );
    }
    expect(frames(host.heard)).toEqual(upTo(audios));
    expect(signals(host.heard)).toEqual(upTo(controls));
    expect(media(caller.told, 1)).toEqual(upTo(outs));
    expect(texts(caller.told)).toEqual(upTo(words).map((n) => `w${n}`));
    // No utterance was clipped by the change of pairs, but where its audio was later than 40 ms (kernel.md §6).
    let heard = 0;
    let clipped = 0;
    for (const message of host.heard) {
      if (message.kind === "audio") heard = message.sequence;
      else if (message.kind === "control" && heard < (message.lastMediaSequence ?? 0)) clipped += 1;
    }
    expect(clipped).toBeLessThanOrEqual(rig.sessions.stats().forced ?? 0);
    expect(host.kinds).toEqual(["metrics"]);
    expect(rig.sessions.stats()).toMatchObject({ open: 1, waiting: 0, reattached: 4 });
    expect([caller.closed, host.gone]).toEqual([null, null]);
    host.send({ kind: "close", epoch, reason: "completed" });
    await until(() => caller.closed === "completed", "the end");
  });

  test("F-158 pairs that die again and again, in the middle of going on too: still nothing is lost or doubled", async () => {
    rig = await remoteRig({ reconnectMs: 20_000 });
    const { caller, host, end } = await rig.open("s-1");
    const { epoch } = end;
    const random = mulberry(5);
    let [audios, controls, words, generation, frameNo] = [0, 0, 0, 0, 0];
    const fenced: number[] = [];
    const untilMs = performance.now() + 2_500;
    let cutAtMs = 0;
    while (performance.now() < untilMs) {
      end.session.receive(audioIn(epoch, ++audios));
      if (random() < 0.3) {
        end.session.receive(signalIn(epoch, ++controls, "end_of_utterance", { lastMediaSequence: audios }));
      }
      host.send(mediaOut(epoch, 1, generation, ++frameNo));
      if (random() < 0.2) host.send(text(epoch, ++words));
      if (random() < 0.05) {
        fenced.push(++generation);
        host.send({ kind: "fence", epoch, turn: 1, generation, all: false, reason: "barge_in" });
      }
      if (performance.now() > cutAtMs) {
        rig.line.cut();
        cutAtMs = performance.now() + 5 + random() * 250;
      }
      await new Promise((resolve) => setTimeout(resolve, random() * 6));
    }
    const said = (): boolean => frames(host.heard).length >= audios && signals(host.heard).length >= controls;
    await until(said, "all that the caller said", 10_000);
    host.send({ kind: "close", epoch, reason: "completed" });
    await until(() => caller.closed !== null, "the end", 10_000);
    expect(frames(host.heard)).toEqual(upTo(audios));
    expect(signals(host.heard)).toEqual(upTo(controls));
    expect(texts(caller.told)).toEqual(upTo(words).map((n) => `w${n}`));
    expect(caller.told.flatMap((m) => (m.kind === "fence" ? [m.generation] : []))).toEqual(fenced);
    const heard = caller.told.flatMap((m) => (m.kind === "media" ? [m] : []));
    expect(heard.map((m) => m.sequence)).toEqual([...new Set(heard.map((m) => m.sequence))].sort((a, b) => a - b));
    let floor = 0;
    for (const message of caller.told) {
      if (message.kind === "fence") floor = message.generation;
      if (message.kind === "media") expect(message.generation).toBeGreaterThanOrEqual(floor);
    }
    expect([rig.opener.stats().lost, rig.opener.stats().unsent]).toEqual([0, {}]);
    expect(rig.sessions.stats().reattached).toBeGreaterThan(3);
  });

  test("F-033 a fence raised while there is no pair holds on the next: what it cuts is not said again", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host, end } = await rig.open("s-1");
    rig.line.stall(true);
    for (let n = 1; n <= 40; n++) host.send(mediaOut(end.epoch, 1, 0, n));
    rig.line.cut();
    host.send({ kind: "fence", epoch: end.epoch, turn: 1, generation: 1, all: true, reason: "barge_in" });
    host.send(mediaOut(end.epoch, 2, 0, 1));
    rig.line.stall(false);
    await until(() => media(caller.told, 2).length === 1, "the next turn");
    expect(media(caller.told, 1)).toEqual([]);
    expect(caller.told.filter((m) => m.kind === "fence").length).toBe(1);
    end.session.receive({ kind: "fence_ack", epoch: end.epoch, turn: 1, generation: 1, playedUs: 0, flushed: 0 });
    await until(() => host.heard.length === 1, "the acknowledgement");
  });

  test("a session closed while its adapter is away is told so when it comes back", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host, end } = await rig.open("s-1");
    rig.line.cut();
    await until(() => rig!.sessions.stats().waiting === 1, "the runtime to notice");
    host.send(text(end.epoch, 1));
    host.send({ kind: "close", epoch: end.epoch, reason: "max_duration" });
    await until(() => caller.closed !== null, "the close");
    expect([texts(caller.told), caller.closed]).toEqual([["w1"], "max_duration"]);
    expect(rig.sessions.stats()).toMatchObject({ open: 0, waiting: 0 });
    expect(host.heard.some((m) => m.kind === "control" && m.signal === "ended")).toBe(false);
  });

  test("an adapter that does not come back ends the session after its time, and so does the runtime", async () => {
    rig = await remoteRig({ reconnectMs: 150 });
    const one = await rig.open("s-1");
    rig.line.stall(true);
    rig.line.cut();
    await until(() => one.host.gone !== null, "the end at the runtime");
    expect(one.host.heard.at(-1)).toMatchObject({ signal: "ended", reason: "connection_lost" });
    rig.line.stall(false);
    await until(() => one.caller.closed !== null, "the end at the adapter");
    expect(one.caller.closed).toBe("transport_disconnect");
    expect(rig.notices.some((n) => n.kind === "session_lost")).toBe(true);
  });

  test("a runtime that forgot the session ends it at the adapter, which looks no longer", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const one = await rig.open("s-1");
    rig.line.stall(true);
    rig.line.cut();
    await until(() => rig!.sessions.stats().waiting === 1, "the runtime to notice");
    rig.sessions.close();
    rig.line.stall(false);
    await until(() => one.caller.closed !== null, "the end at the adapter");
    expect(one.caller.closed).toBe("transport_disconnect");
  });

  test("an adapter looks for a pair for as long as the runtime holds the session, past ten seconds", async () => {
    // Its clock runs twenty times as fast as the runtime's.
    const system = createSystemClock();
    const speed = 20;
    const nowNs = () => asMonoNs(system.nowNs() * speed);
    const timerAt: Clock["timerAt"] = (atNs, fire) => system.timerAt(asMonoNs(Math.ceil(atNs / speed)), fire);
    const clock: Clock = { ...system, nowNs, timerAt };
    rig = await remoteRig({ reconnectMs: 30_000, opener: { clock, deadlines: { readyMs: 50 } } });
    const one = await rig.open("s-1");
    rig.line.stall(true);
    rig.line.cut();
    const sinceNs = nowNs();
    await until(() => nowNs() - sinceNs > 14e9, "fourteen seconds of it");
    expect(one.caller.closed).toBe(null);
    rig.line.stall(false);
    await until(() => rig!.opener.stats().reattached === 1, "the session goes on");
    expect(rig.sessions.stats()).toMatchObject({ open: 1, reattached: 1 });
  });

  test("nobody goes on with a session of another's token", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    await rig.open("s-1");
    const { createLinkClient } = await import("@rspp/rpc/link-client");
    const { openItem } = await import("@rspp/remote/link-open");
    const { App, appHandlers } = await import("./link-rig.ts");
    const app = new App();
    const names = { domain: "adapter", linkId: "thief", peerId: "adapter-1", build: "test" };
    const client = createLinkClient({ ...names, address: rig.platform.address }, appHandlers(app));
    await client.ready(5_000);
    const thief = app.bind(client.end, "s-1");
    const standing = {
      knownEpoch: 7,
      openTurn: 0,
      openGeneration: 0,
      openPlayedUs: 0,
      sentControl: 0,
      sentAudio: 0,
      resendAvailableMs: 0,
    };
    const format = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;
    const grant = signGrant({ session: "s-1", epoch: 7 });
    const item = openItem({ token: "stolen", grant, variables: {}, outputFormat: format, reattach: standing });
    if (item.kind === "control") thief.port.sendControl(item.payload, item.how);
    await until(() => thief.closed !== null, "the refusal");
    expect(rig.refusals.at(-1)).toMatch(/^PERMISSION_DENIED open.token/);
    expect(rig.sessions.stats().open).toBe(1);
    client.close();
  });
});

describe("a newer epoch", () => {
  test("F-156 the adapter checks the grant, raises its floor, acknowledges, and goes on under it; the turn goes on", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host, end } = await rig.open("s-1");
    for (let n = 1; n <= 10; n++) end.session.receive(audioIn(end.epoch, n));
    host.send(mediaOut(end.epoch, 1, 0, 1));
    await until(() => media(caller.told, 1).length === 1, "the first frame");
    const next = end.epoch + 1;
    host.open.announceFloor(signGrant({ session: "s-1", epoch: next }));
    // What is said under the new epoch waits until the adapter knows it.
    host.send(mediaOut(next, 1, 0, 2));
    await until(() => media(caller.told, 1).length === 2, "a frame of the new epoch");
    expect(caller.epoch).toBe(next);
    expect(host.floors).toEqual([next]);
    expect(caller.told.at(-1)).toEqual(mediaOut(next, 1, 0, 2));
    end.session.receive(audioIn(next, 11));
    await until(() => frames(host.heard).length === 11, "audio under the new epoch");
    expect(frames(host.heard)).toEqual(upTo(11));
    expect(host.heard.at(-1)?.epoch).toBe(next);
    host.send(mediaOut(end.epoch, 1, 0, 3));
    expect(rig.sessions.stats().unsent).toEqual({ stale_epoch: 1 });
    expect(caller.closed).toBe(null);
  });

  test("F-156 epochs that change while both ends speak: the adapter believes the newest only, and still hears everything", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host, end } = await rig.open("s-1");
    let [epoch, audios, outs, words] = [end.epoch, 0, 0, 0];
    caller.epoch = epoch;
    const accepted: TransportEgress[] = [];
    caller.onMessage = (message) => {
      if (message.epoch === caller.epoch) accepted.push(message);
    };
    for (let round = 0; round < 5; round++) {
      for (let n = 0; n < 60; n++) {
        end.session.receive(audioIn(caller.epoch, ++audios));
        host.send(mediaOut(epoch, 1, 0, ++outs));
        if (n % 4 === 0) host.send(text(epoch, ++words));
        if (n % 7 === 0) await tick();
        if (n === 30) host.open.announceFloor(signGrant({ session: "s-1", epoch: ++epoch }));
      }
      await until(() => caller.epoch === epoch && host.floors.includes(epoch), `epoch ${epoch}`);
    }
    const done = (): boolean => media(accepted, 1).length >= outs && texts(accepted).length >= words;
    await until(() => done() && frames(host.heard).length >= audios, "everything");
    expect(media(accepted, 1)).toEqual(upTo(outs));
    expect(texts(accepted)).toEqual(upTo(words).map((n) => `w${n}`));
    expect(frames(host.heard)).toEqual(upTo(audios));
    expect(caller.told.length).toBe(accepted.length);
    expect(host.floors).toEqual([1, 2, 3, 4, 5].map((n) => end.epoch + n));
  });

  test("F-156 a grant that is forged, of another session, of another holder or not newer changes nothing", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host, end } = await rig.open("s-1");
    const newer = end.epoch + 1;
    host.open.announceFloor(signGrant({ session: "s-1", epoch: newer, forged: true }));
    await until(() => rig!.notices.some((n) => n.kind === "floor_refused"), "the refusal");
    host.open.announceFloor(signGrant({ session: "s-2", epoch: newer + 1 }));
    host.open.announceFloor(signGrant({ session: "s-1", epoch: newer + 2, holder: "runtime-9" }));
    host.open.announceFloor(signGrant({ session: "s-1", epoch: end.epoch }));
    await until(() => rig!.notices.filter((n) => n.kind === "floor_refused").length === 3, "all refusals");
    expect(rig.notices.map((n) => (n.kind === "floor_refused" ? n.reason : ""))).toEqual([
      "signature",
      "other_session",
      "other_holder",
    ]);
    expect([caller.epoch, host.floors, caller.closed]).toEqual([end.epoch, [], null]);
    end.session.receive(audioIn(end.epoch, 1));
    await until(() => host.heard.length === 1, "the session goes on under its epoch");
  });
});

describe("the way to a runtime", () => {
  test("F-159 a runtime that does not answer where the view says it is, is looked up again", async () => {
    rig = await remoteRig({ opener: { deadlines: { readyMs: 300 } } });
    const { platform, opener } = rig;
    const { address } = platform;
    platform.address = "127.0.0.1:9";
    const ask = async () => {
      const answer = await opener.open(new Caller().request("s-1"));
      return answer.ok ? "opened" : answer.error.reason;
    };
    expect(await ask()).toBe("dependency_unavailable");
    // It was started again, under its name, somewhere else.
    platform.address = address;
    expect(await ask()).toBe("opened");
  });

  test("F-159 the routing view is asked again when it is too old or an instance is unknown; a registry that is away ends no opening at once", async () => {
    rig = await remoteRig();
    const { platform, opener } = rig;
    await rig.open("s-1");
    await rig.open("s-2");
    expect(platform.views).toBe(1);
    expect(await opener.open(new Caller().request("s-3", { instance: "runtime-9" }))).toMatchObject({
      error: { reason: "not_found" },
    });
    const asked = platform.views;
    platform.maxStalenessMs = 1;
    platform.draining = true;
    await until(() => opener.stats().view.ageMs > 260, "time for another look at an unknown id");
    await opener.open(new Caller().request("s-3", { instance: "runtime-9" }));
    expect(platform.views).toBeGreaterThan(asked);
    await until(() => opener.stats().view.ageMs > 2, "an old view");
    expect(await opener.open(new Caller().request("s-4"))).toMatchObject({ error: { reason: "draining" } });
    platform.draining = false;
    await until(() => opener.stats().view.ageMs > 2, "an old view");
    await rig.open("s-4");
    platform.registryAway = true;
    await until(() => opener.stats().view.ageMs > 2, "an old view");
    await rig.open("s-5");
    expect(rig.notices.some((n) => n.kind === "view_stale" && n.ageMs > 1)).toBe(true);
    expect(opener.stats().view.stale).toBe(true);
  });

  test("F-105 sessions are spread over the pairs of a runtime", async () => {
    rig = await remoteRig({ opener: { link: { linksPerRuntime: 3 } } });
    for (let n = 1; n <= 6; n++) await rig.open(`s-${n}`);
    expect(rig.opener.stats().links.map((link) => link.sessions)).toEqual([2, 2, 2]);
    for (const host of rig.hosted.values()) host.send({ kind: "close", epoch: host.open.epoch, reason: "completed" });
    await until(() => rig!.opener.stats().sessions === 0, "all ended");
    expect(rig.opener.stats().links.map((link) => link.sessions)).toEqual([0, 0, 0]);
  });

  test("an adapter that stops ends its sessions in order at both ends", async () => {
    rig = await remoteRig({ reconnectMs: 8_000 });
    const { caller, host } = await rig.open("s-1");
    rig.opener.close();
    expect(caller.closed).toBe("draining");
    await until(() => host.gone !== null, "the end at the runtime");
    expect(host.heard.at(-1)).toMatchObject({ signal: "ended", reason: "draining" });
    expect(await rig.opener.open(new Caller().request("s-2"))).toMatchObject({ error: { reason: "draining" } });
  });
});
