import { asMediaUs, asMonoNs, msToNs } from "@rspp/base/brand";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "./limits.ts";
import type { Lane } from "./link-types.ts";
import {
  callerAudioCapture,
  callerAudioCommitted,
  callerAudioTakeover,
  createCallerAudio,
  ingressTake,
} from "./reattach-audio.ts";
import { clientAnswer, clientReattach, clientReceive, clientTurn, createReattachClient } from "./reattach-client.ts";
import {
  createReattachServer,
  reattachDeadline,
  reattachDetached,
  reattachEnd,
  reattachRequest,
  reattachTick,
  reattachTurn,
  replayAcked,
  replayFence,
  replayRecord,
} from "./reattach-server.ts";
import type { ReattachRequest, ReattachServerState } from "./reattach-types.ts";

const at = (ms: number) => asMonoNs(msToNs(ms));
const server = () => createReattachServer<string>("s", "k1");
const record = (
  s: ReattachServerState<string>,
  lane: Lane,
  payload: string,
  ms = 0,
  turn: number | null = 1,
  bytes = 1,
) => replayRecord(s, { lane, turn, generation: 1, bytes, payload }, at(ms));
const request = (more: Partial<ReattachRequest> = {}): ReattachRequest => ({
  session: "s",
  tokenRef: "k1",
  attempt: 1,
  lastReceived: { control: 0, data: 0, telemetry: 0 },
  openTurn: null,
  ...more,
});

describe("resume", () => {
  test("replays what was missed, in recorded order over the lanes, telemetry excepted", () => {
    const s = server();
    record(s, "control", "open");
    record(s, "data", "a1");
    record(s, "telemetry", "cpu");
    reattachDetached(s, 1, at(0));
    record(s, "data", "a2");
    record(s, "control", "commit");
    const lastReceived = { control: 1, data: 1, telemetry: 0 };
    const answer = reattachRequest(s, request({ lastReceived, openTurn: 1 }), at(10));
    expect(answer).toMatchObject({ kind: "resume", attachment: 2, turn: "closed_meanwhile", resumeAt: s.last });
    expect(answer.kind === "resume" && answer.events.map((e) => e.payload)).toEqual(["a2", "commit"]);
    expect(s.phase).toBe("attached");
  });

  test.each([
    [1, 1, "same"],
    [1, null, "closed_meanwhile"],
    [null, 2, "opened_meanwhile"],
    [1, 2, "other_turn"],
  ] as const)("the turn the client saw open (%s) is compared with the server's (%s): %s", (seen, open, turn) => {
    const s = server();
    reattachTurn(s, open);
    expect(reattachRequest(s, request({ openTurn: seen }), at(0))).toMatchObject({
      kind: "resume",
      turn,
      openTurn: open,
    });
  });

  test("nothing of a fenced turn is replayed, control of it is", () => {
    const s = server();
    record(s, "data", "cut");
    record(s, "control", "cancel");
    record(s, "data", "next", 0, 2);
    replayFence(s, { turn: 1, generation: 2, olderTurns: false });
    record(s, "data", "late");
    const answer = reattachRequest(s, request(), at(0));
    expect(answer.kind === "resume" && answer.events.map((e) => e.payload)).toEqual(["cancel", "next"]);
  });

  test("what was acknowledged is not kept, and its absence is no loss", () => {
    const s = server();
    for (const payload of ["a", "b", "c"]) record(s, "data", payload);
    replayAcked(s, { control: 0, data: 2, telemetry: 0 });
    expect(s.entries.map((e) => e.payload)).toEqual(["c"]);
    const answer = reattachRequest(s, request({ lastReceived: { control: 0, data: 2, telemetry: 0 } }), at(0));
    expect(answer).toMatchObject({ kind: "resume", events: [{ payload: "c" }] });
  });
});

describe("bounds of the replay buffer", () => {
  test("number, bytes and age; whoever missed what is gone begins from a snapshot", () => {
    const many = server();
    for (let n = 0; n < limits.REPLAY_ITEMS_MAX + 3; n++) record(many, "data", `${n}`);
    expect([many.entries.length, many.lost.data]).toEqual([limits.REPLAY_ITEMS_MAX, 3]);
    expect(reattachRequest(many, request(), at(0))).toMatchObject({
      kind: "too_old",
      lane: "data",
      snapshotAt: { data: limits.REPLAY_ITEMS_MAX + 3 },
    });
    const kept = { control: 0, data: 3, telemetry: 0 };
    expect(reattachRequest(many, request({ attempt: 2, lastReceived: kept }), at(0)).kind).toBe("resume");
    const heavy = server();
    for (let n = 0; n < 3; n++) record(heavy, "data", "x", 0, null, limits.REPLAY_BYTES_MAX / 2);
    expect(heavy.entries).toHaveLength(2);
    const old = server();
    record(old, "control", "x");
    expect(reattachRequest(old, request(), at(limits.REPLAY_AGE_MS + 1)).kind).toBe("too_old");
  });
});

describe("who may come back", () => {
  test.each([
    [{ session: "other" }, "wrong_session"],
    [{ tokenRef: "k2" }, "bad_token"],
    [{ attempt: 0 }, "old_attempt"],
    [{ lastReceived: { control: 0, data: 9, telemetry: 0 } }, "ahead"],
  ])("%j is refused: %s, and changes nothing", (more, reason) => {
    const s = server();
    const before = JSON.stringify(s);
    expect(reattachRequest(s, request(more), at(0))).toMatchObject({ kind: "refused", reason });
    expect(JSON.stringify(s)).toBe(before);
  });

  test("until its deadline, then the session has expired, once", () => {
    const s = server();
    reattachDetached(s, 1, at(5));
    expect(reattachDeadline(s)).toBe(at(5 + limits.REATTACH_DEADLINE_MS));
    expect(reattachTick(s, at(4 + limits.REATTACH_DEADLINE_MS))).toBe(false);
    expect(reattachTick(s, at(5 + limits.REATTACH_DEADLINE_MS))).toBe(true);
    expect(reattachTick(s, at(6 + limits.REATTACH_DEADLINE_MS))).toBe(false);
    expect(reattachRequest(s, request(), at(40_000))).toMatchObject({ reason: "expired" });
    const over = server();
    reattachEnd(over);
    expect(reattachRequest(over, request(), at(0))).toMatchObject({ reason: "ended" });
  });

  test("a newer attempt takes the place of a connection the server still believes in; the old one going changes nothing", () => {
    const s = server();
    expect(reattachRequest(s, request(), at(0))).toMatchObject({ kind: "resume", attachment: 2 });
    reattachDetached(s, 1, at(1));
    expect(s.phase).toBe("attached");
    expect(reattachRequest(s, request(), at(2))).toMatchObject({ kind: "refused", reason: "old_attempt" });
  });
});

describe("client", () => {
  test("asks with what it has, ignores answers to earlier attempts, is lost when refused", () => {
    const c = createReattachClient("s", "k1");
    clientReceive(c, "data", 1);
    clientTurn(c, 4);
    clientReattach(c);
    const second = clientReattach(c);
    expect(second).toEqual(request({ attempt: 2, lastReceived: { control: 0, data: 1, telemetry: 0 }, openTurn: 4 }));
    expect(clientAnswer(c, { kind: "refused", attempt: 1, reason: "old_attempt" })).toEqual({ kind: "ignored" });
    expect(clientAnswer(c, { kind: "refused", attempt: 2, reason: "expired" })).toEqual({
      kind: "lost",
      reason: "expired",
    });
    expect(clientReattach(c)).toBeNull();
  });

  test("F-158 every sequence is delivered once; what was cut is named", () => {
    const c = createReattachClient("s", "k1");
    expect(clientReceive(c, "data", 1)).toEqual({ deliver: true, missed: null });
    expect(clientReceive(c, "data", 1)).toEqual({ deliver: false, reason: "duplicate" });
    expect(clientReceive(c, "data", 4)).toEqual({ deliver: true, missed: { fromSeq: 2, toSeq: 3 } });
  });

  test("under random disconnects it is given every event once and in order, or begins from a snapshot", () => {
    const op = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ op: fc.constant("send" as const), lane: fc.constantFrom<Lane>("control", "data") }),
      },
      { weight: 2, arbitrary: fc.record({ op: fc.constantFrom("drop" as const, "back" as const, "late" as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ op: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 12_000 }) }),
      },
    );
    fc.assert(
      fc.property(fc.array(op, { maxLength: 120 }), (ops) => {
        const s = server();
        const c = createReattachClient("s", "k1");
        const heard: Record<string, number> = { control: 0, data: 0 };
        let nowMs = 0;
        let connected = true;
        let asked: ReattachRequest | null = null;
        const take = (lane: Lane, seq: number): void => {
          if (!clientReceive(c, lane, seq).deliver) return;
          expect(seq).toBe((heard[lane] ?? 0) + 1);
          heard[lane] = seq;
        };
        const back = (): void => {
          asked = clientReattach(c);
          if (asked === null) return;
          const answer = reattachRequest(s, asked, at(nowMs));
          const step = clientAnswer(c, answer);
          if (answer.kind === "resume") for (const e of answer.events) take(e.lane, e.seq);
          else if (answer.kind === "too_old") Object.assign(heard, answer.snapshotAt);
          connected = step.kind === "attached" || step.kind === "restart_from_snapshot";
          if (connected) expect([heard.control, heard.data]).toEqual([s.last.control, s.last.data]);
        };
        for (const o of ops) {
          if (o.op === "send") {
            const seq = record(s, o.lane, "x", nowMs);
            if (connected) take(o.lane, seq);
          } else if (o.op === "wait") {
            nowMs += o.ms;
            reattachTick(s, at(nowMs));
          } else if (o.op === "drop" && connected) {
            connected = false;
            if (nowMs % 2 === 0) reattachDetached(s, s.attachment, at(nowMs));
          } else if (o.op === "back" && !connected) back();
          else if (o.op === "late" && asked !== null) {
            expect(reattachRequest(s, asked, at(nowMs)).kind).toBe("refused");
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("the caller's audio on a takeover (kernel.md §7)", () => {
  const capture = (state: ReturnType<typeof createCallerAudio<string>>, audioUs = 20_000, bytes = 640) =>
    callerAudioCapture(state, { mediaUs: asMediaUs(state.lastSeq * 20_000), audioUs, bytes, payload: "pcm" });
  const ask = (highWater: number) => ({ highWater, openTurn: 3, openGeneration: 2 });

  test("is resent since the last commit, with the turn seen open", () => {
    const state = createCallerAudio<string>();
    for (let n = 0; n < 5; n++) capture(state);
    callerAudioCommitted(state, 2);
    const report = callerAudioTakeover(state, ask(0));
    expect(report).toMatchObject({ openTurn: 3, openGeneration: 2, lost: null });
    expect(report.frames.map((f) => f.seq)).toEqual([3, 4, 5]);
    expect(callerAudioTakeover(state, ask(4)).frames.map((f) => f.seq)).toEqual([5]);
  });

  test("is 30 s at most; what is gone is declared", () => {
    const state = createCallerAudio<string>();
    for (let n = 0; n < 1_510; n++) capture(state);
    expect(state.audioUs).toBe(limits.CALLER_AUDIO_US_MAX);
    expect(callerAudioTakeover(state, ask(4)).lost).toEqual({ fromSeq: 5, toSeq: 10 });
    expect(callerAudioTakeover(state, ask(10)).lost).toBeNull();
    const heavy = createCallerAudio<string>();
    for (let n = 0; n < 10; n++) capture(heavy, 1, limits.CALLER_AUDIO_BYTES_MAX / 4);
    expect(heavy.frames).toHaveLength(4);
  });

  test("F-158 is heard once, whatever is captured, committed, resent and repeated when", () => {
    const op = fc.constantFrom("capture", "deliver", "commit", "takeover", "takeover twice");
    fc.assert(
      fc.property(fc.array(op, { maxLength: 120 }), (ops) => {
        const state = createCallerAudio<string>();
        let mark = { highWater: 0 };
        const heard: number[] = [];
        const take = (seq: number): void => {
          const { take: fresh, missed } = ingressTake(mark, seq);
          expect(missed).toBe(0);
          if (fresh) heard.push(seq);
        };
        let onWire: number[] = [];
        for (const o of ops) {
          if (o === "capture") onWire.push(capture(state));
          else if (o === "deliver") for (const seq of onWire.splice(0, 2)) take(seq);
          else if (o === "commit") callerAudioCommitted(state, mark.highWater);
          else {
            mark = { highWater: mark.highWater };
            onWire = [];
            for (const f of callerAudioTakeover(state, ask(mark.highWater)).frames) take(f.seq);
            if (o === "takeover twice") for (const f of callerAudioTakeover(state, ask(0)).frames) take(f.seq);
          }
        }
        for (const f of callerAudioTakeover(state, ask(mark.highWater)).frames) take(f.seq);
        expect(heard).toEqual(Array.from({ length: state.lastSeq }, (_, n) => n + 1));
      }),
      { numRuns: 200 },
    );
  });
});
