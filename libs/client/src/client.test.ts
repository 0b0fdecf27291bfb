import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { ControlSignal } from "@rspp/gen/rspp/event/v1/control_pb";
import { type ServerFrame, ServerFrameSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { beforeEach, describe, expect, test } from "vitest";
import type { Client } from "./client.ts";
import { connect } from "./connect.ts";
import { FakeHost, FakeSocket } from "./testing/fake-host.ts";
import type { ClientOptions } from "./types.ts";

const frameOf = (message: unknown, sequence = 0): ServerFrame =>
  create(ServerFrameSchema, { sequence: BigInt(sequence), message: message as ServerFrame["message"] });
const opened = (more: Record<string, unknown> = {}): ServerFrame =>
  frameOf({
    case: "opened",
    value: { session: { tenantId: "a", sessionId: "s" }, resumeKey: "key", resumeWithinMs: 10_000, ...more },
  });
const textOf = (text: string, sequence: number): ServerFrame =>
  frameOf({ case: "event", value: { event: { payload: { case: "text", value: { text, final: true } } } } }, sequence);

let host: FakeHost;
beforeEach(() => {
  host = new FakeHost();
  FakeSocket.dialled = [];
});

async function open(options: ClientOptions = {}): Promise<Client> {
  const connecting = connect("ws://x/v1/session", "token", { host, WebSocket: FakeSocket, ...options });
  FakeSocket.last().accept();
  FakeSocket.last().say(opened());
  return connecting;
}

const sequences = (socket: FakeSocket): string[] =>
  socket.sent.flatMap((m) => (m.case === "audio" || m.case === "signal" ? [`${m.case} ${m.value.sequence}`] : []));

describe("the client", () => {
  test("opens with version, token and formats, and tells its session", async () => {
    const client = await open();
    expect([client.session, client.state]).toEqual(["s", "open"]);
    expect(FakeSocket.last().sent[0]).toMatchObject({ case: "open", value: { protocolVersion: 1, token: "token" } });
    client.end();
    FakeSocket.last().say(frameOf({ case: "closed", value: { reason: 35 } }));
    expect(await client.ended).toBe("caller_hangup");
    expect(host.waiting()).toBe(0);
  });

  test("F-158 R4 a refusal that passes does not end a session that is to be taken up again; one that stands does", async () => {
    const client = await open();
    const errors: string[] = [];
    client.on("error", ({ reason }) => errors.push(reason));
    const refuse = (reason: ErrorReason, code: number): void => {
      FakeSocket.last().accept();
      FakeSocket.last().say(frameOf({ case: "closed", value: { error: { reason } } }));
      FakeSocket.last().drop(code);
    };
    FakeSocket.last().drop(1001);
    for (const reason of [ErrorReason.DRAINING, ErrorReason.CAPACITY_EXHAUSTED]) {
      host.pass(1_000);
      refuse(reason, 1013);
      expect(client.state).toBe("reconnecting");
    }
    host.pass(1_000);
    refuse(ErrorReason.SESSION_NOT_FOUND, 4404);
    expect([client.state, errors]).toEqual(["closed", ["draining", "capacity_exhausted", "session_not_found"]]);
    expect(await client.ended).toBe("session_not_found");
  });

  test("F-158 R4 what it saw is told when it comes back, and what its adapter had taken at the last", async () => {
    const client = await open();
    const socket = FakeSocket.last();
    for (let i = 0; i < 3; i++) client.sendAudio(new Int16Array(320));
    const control = (signal: ControlSignal, sequence: number) =>
      socket.say(
        frameOf(
          { case: "event", value: { event: { turnNumber: 4, payload: { case: "control", value: { signal } } } } },
          sequence,
        ),
      );
    control(ControlSignal.TURN_OPEN, 1);
    control(ControlSignal.COMMIT, 2);
    client.mute();
    socket.say(frameOf({ case: "pong", value: { audioSequence: 2n, signalSequence: 1n, last: true } }));
    client.endOfUtterance();
    socket.drop(1001);
    host.pass(1_000);
    FakeSocket.last().accept();
    expect(FakeSocket.last().sent[0]).toMatchObject({
      value: {
        resume: {
          lastServerSequence: 2n,
          seen: { goneAudioSequence: 2n, goneSignalSequence: 1n, lastTurnNumber: 4, openTurnNumber: 4, muted: true },
        },
      },
    });
    expect(FakeSocket.last().sent[0]).toMatchObject({ value: { resume: { seen: { openTurnCommitted: true } } } });
    FakeSocket.last().say(opened({ resumed: true, resumeAudioAfter: 2n, resumeSignalsAfter: 1n }));
    expect(sequences(FakeSocket.last())).toEqual(["audio 3", "signal 2"]);
  });

  test("F-158 resends what was not taken, in its order, and leaves out what comes twice", async () => {
    const client = await open();
    const texts: string[] = [];
    client.on("text", ({ text }) => texts.push(text));
    const first = FakeSocket.last();
    for (let i = 0; i < 3; i++) client.sendAudio(new Int16Array(320));
    first.say(textOf("one", 1));
    first.say(frameOf({ case: "pong", value: { audioSequence: 1n, signalSequence: 0n } }));
    first.drop(1006);
    expect(client.state).toBe("reconnecting");
    client.endOfUtterance();
    client.sendAudio(new Int16Array(320));
    host.pass(100);
    const second = FakeSocket.last();
    second.accept();
    expect(second.sent[0]).toMatchObject({
      value: { resume: { resumeKey: "key", lastServerSequence: 1n, sentAudioSequence: 4n, sentSignalSequence: 1n } },
    });
    second.say(opened({ resumed: true, resumeAudioAfter: 2n }));
    expect(sequences(second)).toEqual(["audio 3", "signal 1", "audio 4"]);
    for (const [text, sequence] of [
      ["one", 1],
      ["two", 2],
      ["three", 4],
    ] as const)
      second.say(textOf(text, sequence));
    expect(texts).toEqual(["one", "two", "three"]);
    expect([client.duplicates, client.resumes]).toEqual([1, 1]);
    client.end();
  });

  test("F-091 waits longer from try to try, and gives up when the session is gone", async () => {
    const client = await open();
    const states: string[] = [];
    client.on("state", ({ state }) => states.push(state));
    FakeSocket.last().drop(1006);
    const dials: number[] = [];
    for (let ms = 0; ms < 20_000 && client.state !== "closed"; ms += 25) {
      const before = FakeSocket.dialled.length;
      host.pass(25);
      if (FakeSocket.dialled.length === before) continue;
      dials.push(host.nowMs());
      FakeSocket.last().drop(1006);
    }
    expect(client.state).toBe("closed");
    expect(dials.at(-1)).toBeLessThanOrEqual(10_025);
    expect(dials.length).toBeLessThan(14);
    expect(states).toEqual(["reconnecting", "closed"]);
    expect(host.waiting()).toBe(0);
  });

  test("does not come back where that is of no use, and when it was told not to", async () => {
    for (const code of [1000, 4400, 4401, 4404, 4409, 4410]) {
      const client = await open();
      FakeSocket.last().drop(code, "why");
      expect(await client.ended).toBe("why");
    }
    const client = await open({ resume: false });
    FakeSocket.last().drop(1006);
    expect(client.state).toBe("closed");
    expect(() => client.sendAudio(new Int16Array(320))).toThrow(/not open/);
  });

  test("a refusal names reason, field and remedy; silence and a dead address are told apart", async () => {
    const refused = connect("ws://x", "t", { host, WebSocket: FakeSocket });
    FakeSocket.last().accept();
    const detail = {
      reason: ErrorReason.TOKEN_EXPIRED,
      remedy: "Ask the registry for a new route.",
      violations: [{ field: "open.token", message: "is old" }],
    };
    FakeSocket.last().say(frameOf({ case: "closed", value: { error: detail } }));
    await expect(refused).rejects.toMatchObject({
      reason: "refused",
      serverReason: "token_expired",
      message: expect.stringContaining("open.token: is old"),
    });
    const silent = connect("ws://x", "t", { host, WebSocket: FakeSocket });
    host.pass(10_001);
    await expect(silent).rejects.toMatchObject({ reason: "timeout" });
    const dead = connect("ws://x", "t", { host, WebSocket: FakeSocket });
    FakeSocket.last().drop(1006);
    await expect(dead).rejects.toMatchObject({ reason: "unreachable" });
  });

  test("a server that answers no ping, talks nonsense or takes nothing counts as cut", async () => {
    const silent = await open({ pingMs: 1_000 });
    host.pass(5_000);
    expect(silent.state).toBe("reconnecting");
    const nonsense = await open();
    FakeSocket.last().onmessage?.({ data: new Uint8Array([255, 255]).buffer });
    expect(nonsense.state).toBe("reconnecting");
    const full = await open();
    FakeSocket.last().bufferedAmount = 5_000_000;
    full.sendAudio(new Int16Array(320));
    expect(full.state).toBe("reconnecting");
  });

  test("samples for a codec that has none are a mistake, said at once", async () => {
    const client = await open({ inputFormat: { codec: "mulaw", rateHz: 8_000, channels: 1 } });
    expect(() => client.sendAudio(new Int16Array(160))).toThrow(/mulaw/);
    client.sendAudio(new Uint8Array(160));
    expect(FakeSocket.last().sent.at(-1)).toMatchObject({ case: "audio", value: { durationUs: 20_000 } });
  });
});
