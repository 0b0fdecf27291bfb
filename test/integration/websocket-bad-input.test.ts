/** The WebSocket edge against bad input, bad readers and many connections (F-084, F-088; kernel.md §6). */
import { once } from "node:events";
import { create, fromBinary, toBinary, toJsonString } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";
import { ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { SignalEmitter, SignalScope } from "@rspp/gen/rspp/event/v1/control_rule_pb";
import {
  type ClientFrame,
  ClientFrameSchema,
  type ServerFrame,
  ServerFrameSchema,
} from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { type FakeSession, openFake, settableClock, tokenOf, until, type WsRig } from "./websocket-rig.ts";

let rig: WsRig;
beforeAll(async () => {
  rig = await openFake();
});
afterAll(() => rig.transport.close());

type Init = ClientFrame["message"];
const pcm = { codec: AudioCodec.PCM_S16LE, sampleRateHz: 16_000, channels: 1 };
const bytes = (message: unknown): Uint8Array =>
  toBinary(ClientFrameSchema, create(ClientFrameSchema, { message: message as Init }));
const openOf = (session: string, more: Record<string, unknown> = {}): Uint8Array =>
  bytes({
    case: "open",
    value: { protocolVersion: 1, token: tokenOf(session), inputFormat: pcm, outputFormat: pcm, ...more },
  });
const audioOf = (sequence: number, more: Record<string, unknown> = {}): Uint8Array =>
  bytes({
    case: "audio",
    value: { sequence: BigInt(sequence), data: new Uint8Array(640), durationUs: 20_000, ...more },
  });
const signalOf = (signal: number, more: Record<string, unknown> = {}): Uint8Array =>
  bytes({
    case: "signal",
    value: { sequence: 1n, control: { signal, emitter: SignalEmitter.CLIENT, scope: SignalScope.SESSION, ...more } },
  });

interface Raw {
  socket: WebSocket;
  frames: ServerFrame[];
  closed: { code: number; reason: string } | null;
}

/** A client that says whatever it is given. */
async function raw(options: { protocol?: string; rig?: WsRig } = {}): Promise<Raw> {
  const socket = new WebSocket((options.rig ?? rig).transport.url, [options.protocol ?? "rspp.v1.proto"]);
  const made: Raw = { socket, frames: [], closed: null };
  socket.on("message", (data: Buffer, binary) => {
    if (binary) made.frames.push(fromBinary(ServerFrameSchema, new Uint8Array(data)));
  });
  socket.on("error", () => {});
  socket.on("close", (code, reason) => {
    made.closed = { code, reason: String(reason) };
  });
  await once(socket, "open");
  return made;
}

let sessions = 0;
async function opened(): Promise<Raw & { session: FakeSession }> {
  const id = `bad-${++sessions}`;
  const it = await raw();
  it.socket.send(openOf(id));
  await until(() => it.frames.length > 0, "opened");
  return Object.assign(it, { session: rig.session(id) });
}

/** Field, message and remedy of the newest refusal that was told. */
function told(it: Raw): { reason: number; field: string; text: string; remedy: string } {
  const last = it.frames.at(-1)?.message;
  const detail =
    last?.case === "closed"
      ? last.value.error
      : last?.case === "event" && last.value.event?.payload.case === "error"
        ? last.value.event.payload.value.detail
        : undefined;
  const [violation] = detail?.violations ?? [];
  return {
    reason: detail?.reason ?? 0,
    field: violation?.field ?? "",
    text: violation?.message ?? "",
    remedy: detail?.remedy ?? "",
  };
}

const { SCHEMA_VALIDATION_ERROR: SCHEMA, MALFORMED_FRAME: MALFORMED, OUT_OF_ORDER: ORDER } = ErrorReason;
const TOO_LARGE = ErrorReason.MESSAGE_TOO_LARGE;
const UNKNOWN = ErrorReason.UNKNOWN_EVENT_TYPE;

describe("before the session is open", () => {
  const bad: [string, Uint8Array | string, number, number, string][] = [
    ["no frame at all", new Uint8Array([255, 255, 255]), 4400, MALFORMED, ""],
    ["a truncated frame", openOf("t").subarray(0, 20), 4400, MALFORMED, ""],
    ["an empty frame", new Uint8Array(0), 4400, SCHEMA, "message"],
    ["a frame of an unknown kind", new Uint8Array([0x7a, 0x00]), 4400, UNKNOWN, ""],
    ["text on the binary socket", "{}", 1003, SCHEMA, "frame"],
    ["audio before open", audioOf(1), 4400, ORDER, "frame.message"],
    ["an unknown protocol version", openOf("v", { protocolVersion: 9 }), 4400, SCHEMA, "open.protocol_version"],
    ["no token", openOf("n", { token: "" }), 4400, SCHEMA, "open.token"],
    ["a token of 9 kB", openOf("n", { token: "x".repeat(9_000) }), 4400, SCHEMA, "open.token"],
    ["an altered token", openOf("a", { token: "evil" }), 4401, ErrorReason.TOKEN_INVALID, ""],
    ["an expired token", openOf("e", { token: tokenOf("e", -1) }), 4401, ErrorReason.TOKEN_EXPIRED, ""],
    ["no input format", openOf("f", { inputFormat: undefined }), 4400, SCHEMA, "open.input_format"],
    ["an unknown codec", openOf("f", { inputFormat: { ...pcm, codec: 99 } }), 4400, SCHEMA, "open.input_format.codec"],
    [
      "Opus at 44.1 kHz",
      openOf("f", { inputFormat: { codec: 4, sampleRateHz: 44_100, channels: 1 } }),
      4400,
      SCHEMA,
      "open.input_format.sample_rate_hz",
    ],
    [
      "stereo output",
      openOf("f", { outputFormat: { ...pcm, channels: 2 } }),
      4400,
      SCHEMA,
      "open.output_format.channels",
    ],
    ["a key nobody gave", openOf("k", { resume: { resumeKey: "nope" } }), 4404, ErrorReason.SESSION_NOT_FOUND, ""],
    ["a frame of 600 kB", new Uint8Array(600_000), 1009, TOO_LARGE, ""],
  ];

  test.each(bad)(
    "F-088 %s: the field named, the remedy given, the connection closed",
    async (_name, data, code, reason, field) => {
      const it = await raw();
      it.socket.send(data);
      await until(() => it.closed !== null, "the close");
      expect(it.closed?.code).toBe(code);
      expect(it.closed?.reason.length).toBeGreaterThan(10);
      expect(told(it)).toMatchObject({ reason, field });
      expect(told(it).remedy).not.toBe("");
    },
  );

  test("F-088 neither token nor key is repeated in an answer or an audit entry", async () => {
    const it = await raw();
    it.socket.send(openOf("s", { token: "secret-token-1234", resume: { resumeKey: "secret-key-5678" } }));
    await until(() => it.closed !== null, "the close");
    const all = JSON.stringify([it.frames.map((f) => toJsonString(ServerFrameSchema, f)), it.closed, rig.audits]);
    expect(all).not.toMatch(/secret-(token|key)/);
  });

  test("binary on the JSON socket, a message past the socket's bound, no subprotocol, another path", async () => {
    const json = await raw({ protocol: "rspp.v1.json" });
    json.socket.send(new Uint8Array([1]));
    await until(() => json.closed !== null, "the close");
    expect(json.closed?.code).toBe(1003);
    const huge = await raw();
    huge.socket.send(new Uint8Array(1_100_000));
    await until(() => huge.closed !== null, "the close");
    expect(huge.closed?.code).toBe(1009);
    for (const [url, protocols, status] of [
      [rig.transport.url, ["chat"], 400],
      [rig.transport.url.replace("session", "other"), ["rspp.v1.proto"], 404],
    ] as const) {
      const refused = new WebSocket(url, [...protocols]);
      const [error] = (await once(refused, "error")) as [Error];
      expect(error.message).toContain(String(status));
    }
  });

  test("frames that come while the session is being opened wait, and a flood of them is refused", async () => {
    const it = await raw();
    const id = `early-${++sessions}`;
    it.socket.send(openOf(id));
    for (let i = 1; i <= 20; i++) it.socket.send(audioOf(i));
    await until(() => rig.sessions.get(id)?.audio().length === 20, "the audio");
    it.socket.close(1000);
  });
});

describe("within a session", () => {
  const bad: [string, Uint8Array, number, string][] = [
    ["damaged bytes", new Uint8Array([255, 255]), MALFORMED, ""],
    ["a frame of an unknown kind", new Uint8Array([0x7a, 0x00]), UNKNOWN, ""],
    ["open again", openOf("again"), ORDER, "frame.message"],
    ["audio without a number", audioOf(0), SCHEMA, "audio.sequence"],
    ["audio without sound", audioOf(1, { data: new Uint8Array(0) }), SCHEMA, "audio.data"],
    ["half a sample", audioOf(1, { data: new Uint8Array(641) }), SCHEMA, "audio.data"],
    ["a wrong length", audioOf(1, { durationUs: 40_000 }), SCHEMA, "audio.duration_us"],
    ["300 kB of audio", audioOf(1, { data: new Uint8Array(300_000) }), SCHEMA, "audio.data"],
    ["a signal nobody knows", signalOf(99), SCHEMA, "signal.control.signal"],
    [
      "a signal that is not a client's",
      signalOf(ControlSignal.COMMIT, { lastDataSequence: 1n }),
      SCHEMA,
      "signal.control.signal",
    ],
    [
      "an end of utterance without its place",
      signalOf(ControlSignal.END_OF_UTTERANCE),
      SCHEMA,
      "signal.control.last_media_sequence",
    ],
    [
      "an end of utterance after audio that never came",
      signalOf(ControlSignal.END_OF_UTTERANCE, { lastMediaSequence: 7n }),
      SCHEMA,
      "signal.control.last_media_sequence",
    ],
    ["a stop without a scope", signalOf(ControlSignal.STOP, { reason: 3 }), SCHEMA, "signal.control.cancel_scope"],
    [
      "DTMF without its namespace",
      signalOf(ControlSignal.DTMF, { transportFields: { digits: "1" } }),
      SCHEMA,
      'signal.control.transport_fields["digits"]',
    ],
    [
      "a report of a turn that was not sent",
      bytes({ case: "played", value: { turnNumber: 9, state: 3 } }),
      SCHEMA,
      "played.turn_number",
    ],
  ];

  test.each(bad)("F-084 %s: refused by name, and the session goes on", async (_name, data, reason, field) => {
    const it = await opened();
    it.socket.send(data);
    await until(() => it.frames.length > 1, "the error");
    expect(told(it)).toMatchObject({ reason, field });
    expect(told(it).remedy).not.toBe("");
    it.socket.send(audioOf(1));
    await until(() => it.session.audio().length === 1, "the audio");
    expect(it.session.signals()).toEqual(["connected"]);
    it.socket.close(1000);
    await until(() => it.session.signals().includes("ended"), "the end");
  });

  test("F-039 nobody has played what was not sent, nor to an end that has not come", async () => {
    const it = await opened();
    it.session.media(1, 1, 5);
    await until(() => it.frames.length > 5, "the audio");
    for (const [value, field] of [
      [{ turnNumber: 1, state: 3, playedUs: 100_001n }, "played.played_us"],
      [{ turnNumber: 1, state: 4, playedUs: 100_000n }, "played.state"],
      [{ turnNumber: 1, state: 5 }, "played.state"],
    ] as const) {
      const before = it.frames.length;
      it.socket.send(bytes({ case: "played", value }));
      await until(() => it.frames.length > before, "the error");
      expect(told(it).field).toBe(field);
    }
    expect(it.session.deliveries()).toEqual(["accepted/1"]);
    it.socket.close(1000);
  });

  test("a client that sends nothing but bad frames is sent away, audio far ahead of real time is refused", async () => {
    const it = await opened();
    for (let i = 0; i < 20; i++) it.socket.send(new Uint8Array([255]));
    await until(() => it.closed !== null, "the close");
    expect(it.closed?.code).toBe(4400);
    const fast = await opened();
    for (let i = 1; i <= 260; i++) fast.socket.send(audioOf(i));
    await until(() => fast.frames.some((f) => f.message.case === "event"), "the error");
    expect(told(fast).reason).toBe(ErrorReason.RATE_LIMITED);
    expect(fast.session.audio().length).toBeLessThan(256);
    fast.socket.close(1000);
  });
});

describe("bounds", () => {
  test("a slow reader: audio is dropped with notice, signals never, memory stays bounded, then it is sent away", async () => {
    const own = await openFake({ compression: false });
    const it = await raw({ rig: own });
    it.socket.send(openOf("slow"));
    await until(() => it.frames.length > 0, "opened");
    it.socket.pause();
    const session = own.session("slow");
    // Far more than the kernel's socket buffers take.
    for (let turn = 1; turn <= 100; turn++) session.media(turn, 1, 500);
    session.control("turn_open", 101);
    const slow = own.transport.session("slow");
    expect(slow?.mediaDropped).toBeGreaterThan(1_000);
    expect(slow?.queuedBytes).toBeLessThan(262_144 + 65_536 + 1_048_576);
    it.socket.resume();
    await until(() => it.frames.some((f) => signalOfFrame(f) === ControlSignal.TURN_OPEN), "the signal");
    expect(it.frames.some((f) => signalOfFrame(f) === ControlSignal.DROP_NOTICE)).toBe(true);
    it.socket.pause();
    // The kernel's buffers take the first megabytes; once the queue is nearly full a little more is too much.
    const say = (): void => session.text(1, "assistant", "x".repeat(2_000));
    for (let i = 0; i < 40_000 && (own.transport.session("slow")?.queuedBytes ?? 0) < 1_000_000; i++) say();
    for (let i = 0; i < 100; i++) say();
    it.socket.resume();
    await until(() => it.closed !== null, "the close");
    expect(it.closed?.code).toBe(4413);
    await until(() => session.signals().includes("reconnecting"), "the session waits");
    await own.transport.close();
  });

  test("more connections than allowed are refused; what does not open in time is closed; a session waits for its opener", async () => {
    const own = await openFake({ connectionsMax: 2, sessionsMax: 1 });
    const first = await raw({ rig: own });
    const second = await raw({ rig: own });
    const third = new WebSocket(own.transport.url, ["rspp.v1.proto"]);
    const [error] = (await once(third, "error")) as [Error];
    expect(error.message).toContain("503");
    first.socket.send(openOf("one"));
    await until(() => first.frames.length > 0, "opened");
    second.socket.send(openOf("two"));
    await until(() => second.closed !== null, "the close");
    expect([second.closed?.code, told(second).reason]).toEqual([1013, ErrorReason.CAPACITY_EXHAUSTED]);
    await own.transport.close();
  });

  test("who opens nothing, says nothing or reads nothing is closed in time, with the reason; a session then waits", async () => {
    const time = settableClock();
    const own = await openFake({ clock: time, compression: false });
    const [silent, idle, stalled] = [await raw({ rig: own }), await raw({ rig: own }), await raw({ rig: own })];
    for (const [it, id] of [
      [idle, "idle"],
      [stalled, "stalled"],
    ] as const) {
      it.socket.send(openOf(id));
      await until(() => it.frames.length > 0, "opened");
    }
    time.setOn(5_100);
    own.transport.sweep();
    await until(() => silent.closed !== null, "the open deadline");
    expect([silent.closed?.code, told(silent).reason]).toEqual([4408, ErrorReason.DEADLINE_EXCEEDED]);
    stalled.socket.pause();
    for (let turn = 1; turn <= 40; turn++) own.session("stalled").media(turn, 1, 500);
    own.transport.sweep();
    time.setOn(10_100);
    own.transport.sweep();
    stalled.socket.resume();
    await until(() => stalled.closed !== null, "the stall");
    expect(stalled.closed?.code).toBe(4414);
    time.setOn(20_000);
    own.transport.sweep();
    await until(() => idle.closed !== null, "the idle deadline");
    expect(idle.closed).toMatchObject({ code: 4408, reason: expect.stringContaining("idle") });
    await until(() => own.session("idle").signals().includes("reconnecting"), "the session waits");
    time.setOn(31_000);
    own.transport.sweep();
    expect(own.session("idle").signals()).toEqual(["connected", "reconnecting", "disconnected", "ended"]);
    expect(own.transport.stats()).toMatchObject({ sessions: 0, connections: 0, givenUp: 2 });
    await own.transport.close();
  });

  test("F-091 a client that missed more than is kept is refused clearly, and so is one that says it got more than was sent", async () => {
    const time = settableClock();
    const own = await openFake({ clock: time });
    const first = await raw({ rig: own });
    first.socket.send(openOf("old"));
    await until(() => first.frames.length > 0, "opened");
    const opening = first.frames[0]?.message;
    const resumeKey = opening?.case === "opened" ? opening.value.resumeKey : "";
    first.socket.terminate();
    const session = own.session("old");
    await until(() => session.signals().includes("reconnecting"), "the cut");
    for (let i = 0; i < 3_000; i++) session.text(1, "assistant", `text ${i}`);
    for (const [lastServerSequence, code] of [
      [9_999n, 4404],
      [0n, 4410],
    ] as const) {
      const again = await raw({ rig: own });
      again.socket.send(openOf("old", { resume: { resumeKey, lastServerSequence } }));
      await until(() => again.closed !== null, "the refusal");
      expect(again.closed?.code).toBe(code);
      expect(told(again).remedy).toContain("new route");
    }
    const foreign = await raw({ rig: own });
    foreign.socket.send(openOf("another", { resume: { resumeKey, lastServerSequence: 2_999n } }));
    await until(() => foreign.closed !== null, "the refusal");
    expect(foreign.closed?.code).toBe(4404);
    // Its token has expired meanwhile, and it has nearly everything: it goes on.
    const back = await raw({ rig: own });
    back.socket.send(openOf("old", { token: tokenOf("old", -1), resume: { resumeKey, lastServerSequence: 2_990n } }));
    await until(() => back.frames.length === 11, "what was missed");
    expect(back.frames.map((f) => Number(f.sequence))).toEqual([0, ...Array.from({ length: 10 }, (_, i) => 2_991 + i)]);
    await own.transport.close();
  });

  test("F-084 1,000 idle connections with sessions: all open, all answered, little memory, nothing left behind", async () => {
    const own = await openFake();
    const before = process.memoryUsage();
    const startNs = process.hrtime.bigint();
    const all: Raw[] = [];
    for (let batch = 0; batch < 20; batch++) {
      const made = await Promise.all(Array.from({ length: 50 }, () => raw({ rig: own })));
      for (const [i, it] of made.entries()) it.socket.send(openOf(`idle-${batch * 50 + i}`));
      all.push(...made);
    }
    await until(() => all.every((it) => it.frames.length > 0), "all opened");
    const ms = Number(process.hrtime.bigint() - startNs) / 1e6;
    expect(own.transport.stats()).toMatchObject({ connections: 1_000, sessions: 1_000, unopened: 0 });
    const kb = (process.memoryUsage().rss - before.rss) / 1_000 / 1_024;
    console.log(`1,000 connections opened in ${Math.round(ms)} ms, ${kb.toFixed(0)} KiB each, both ends`);
    for (const it of all) it.socket.send(bytes({ case: "ping", value: { nonce: 7n } }));
    await until(() => all.every((it) => it.frames.at(-1)?.message.case === "pong"), "all answered");
    for (const it of all) it.socket.close(1000);
    await until(() => own.transport.stats().connections === 0, "all gone");
    for (const session of own.sessions.values()) session.close();
    await until(() => own.transport.stats().sessions === 0, "nothing left");
    expect(kb).toBeLessThan(1_000);
    await own.transport.close();
  });
});

function signalOfFrame({ message }: ServerFrame): number {
  const payload = message.case === "event" ? message.value.event?.payload : undefined;
  return payload?.case === "control" ? payload.value.signal : 0;
}
