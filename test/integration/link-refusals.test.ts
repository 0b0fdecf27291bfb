import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import {
  ControlRequestSchema,
  type ControlResponse,
  LinkService,
  MediaRequestSchema,
} from "@rspp/gen/rspp/runtime/v1/link_service_pb";
import type { RpcError } from "@rspp/rpc/errors";
import { type GrpcChannel, openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { bindToWire } from "@rspp/wire/binding";
import { afterEach, describe, expect, test } from "vitest";
import { audio, constantsOf, fence, marks, type Rig, rigUp, until } from "./link-rig.ts";

let rig: Rig | undefined;
const channels: GrpcChannel[] = [];
afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  await rig?.stop();
  rig = undefined;
});

interface Raw {
  send(message: MessageInitShape<typeof ControlRequestSchema>): void;
  sendMedia(message: MessageInitShape<typeof MediaRequestSchema>): void;
  readonly got: ControlResponse[];
  ended: { error: RpcError | null } | null;
}

/** A client by hand, that says what it likes. */
function raw(port: number): Raw {
  const open = (): GrpcChannel => {
    const channel = openChannel({ address: `127.0.0.1:${port}` });
    channels.push(channel);
    return channel;
  };
  const got: ControlResponse[] = [];
  const peer: Raw = {
    got,
    ended: null,
    send: (message) => control.write(create(ControlRequestSchema, message)),
    sendMedia: (message) => media.write(create(MediaRequestSchema, message)),
  };
  const onClosed = (error: RpcError | null): void => {
    peer.ended ??= { error };
  };
  const control = openDuplex(open(), LinkService.method.control, { onMessage: (m) => void got.push(m), onClosed });
  const media = openDuplex(open(), LinkService.method.media, { onMessage: () => undefined, onClosed });
  return peer;
}

const hello = (more: object = {}) => ({
  protocolVersion: 1,
  linkId: "raw",
  incarnation: 1n,
  peerId: "raw-1",
  build: "test",
  ...more,
});

async function reasonOf(peer: Raw): Promise<{ reason: ErrorReason | undefined; metadata: object }> {
  await until(() => peer.ended !== null, "the end of the stream");
  const detail = peer.ended?.error?.detail;
  return { reason: detail?.reason, metadata: { ...detail?.metadata } };
}

function bind(session: string, ref: number) {
  const made = bindToWire(ref, constantsOf(session), Date.now(), null);
  if (!made.ok) throw new Error("bind");
  return { frame: { case: "bind" as const, value: made.value } };
}

async function rawPair(): Promise<Raw> {
  rig = await rigUp();
  const peer = raw(rig.grpc.port);
  peer.send({ hello: hello() });
  peer.sendMedia({ hello: hello() });
  await until(() => peer.got.some((m) => m.hello !== undefined), "the answer");
  return peer;
}

describe("NF-013 a link refuses what is not legal, and says why", () => {
  test.each([
    ["no hello", {}, ErrorReason.OUT_OF_ORDER],
    ["another protocol", { hello: hello({ protocolVersion: 9 }) }, ErrorReason.UNSUPPORTED_SCHEMA_VERSION],
    ["an empty link id", { hello: hello({ linkId: "" }) }, ErrorReason.SCHEMA_VALIDATION_ERROR],
    ["the link of another peer", { hello: hello({ linkId: "link-1" }) }, ErrorReason.PERMISSION_DENIED],
    [
      "an incarnation that is spent",
      { hello: hello({ linkId: "link-1", peerId: "adapter-1" }) },
      ErrorReason.INCARNATION_MISMATCH,
    ],
  ])("%s", async (_what, first, reason) => {
    rig = await rigUp();
    const peer = raw(rig.grpc.port);
    peer.send(first as MessageInitShape<typeof ControlRequestSchema>);
    expect((await reasonOf(peer)).reason).toBe(reason);
    // The pair that was there goes on.
    const a = rig.adapter.bind(rig.client.end, "s-1");
    a.port.sendMedia(audio("s-1", 1), true);
    await until(() => rig!.runtime.sessions.has("s-1") && marks(rig!.runtime.seen("s-1")).length === 1, "a frame");
  });

  test("a second hello ends the pair", async () => {
    const peer = await rawPair();
    peer.send({ hello: hello() });
    expect(await reasonOf(peer)).toEqual({ reason: ErrorReason.OUT_OF_ORDER, metadata: { unexpected: "hello" } });
  });

  test("an illegal control message breaks its session, with the field named; its neighbour and the pair live on", async () => {
    const peer = await rawPair();
    peer.send({ frames: [bind("bad", 1), bind("good", 3)] });
    await until(() => rig!.runtime.sessions.size === 2, "both sessions");
    // A fence without an epoch.
    const value = {
      sessionRef: 1,
      sequence: 1,
      payload: { case: "fence" as const, value: { reason: Reason.BARGE_IN } },
    };
    peer.send({ frames: [{ frame: { case: "overtaking", value } }] });
    const breaks = () =>
      peer.got.flatMap((m) => m.frames).flatMap(({ frame }) => (frame.case === "break" ? [frame.value] : []));
    await until(() => breaks().length === 1, "the break");
    expect(breaks()[0]?.error?.violations.map((v) => v.field)).toContain("overtaking.fence.authority_epoch");
    expect(rig!.runtime.seen("bad").broken).not.toBe(null);
    peer.sendMedia({
      events: [
        {
          sessionRef: 3,
          lane: 2,
          sequence: 1,
          eventNumber: 1,
          audio: new Uint8Array(640),
          durationUs: 20_000,
          sentAudioUs: 20_000,
          sentBytes: 640,
        },
      ],
    });
    await until(() => marks(rig!.runtime.seen("good")).length === 1, "the neighbour's frame");
    expect(peer.ended).toBe(null);
  });

  test("a bind of a spent reference, and more media than credit, break that session alone", async () => {
    const peer = await rawPair();
    const breaks = () =>
      peer.got.flatMap((m) => m.frames).flatMap(({ frame }) => (frame.case === "break" ? [frame.value] : []));
    peer.send({ frames: [bind("a", 3), bind("b", 1)] });
    await until(() => breaks().length === 1, "the refused bind");
    expect(breaks()[0]).toMatchObject({ sessionRef: 1 });
    const event = { sessionRef: 3, lane: 2, eventNumber: 1, audio: new Uint8Array(640), durationUs: 20_000 };
    peer.sendMedia({ events: [{ ...event, sequence: 1, sentAudioUs: 1e9, sentBytes: 640 }] });
    await until(() => breaks().length === 2, "the credit violation");
    expect(breaks()[1]).toMatchObject({ sessionRef: 3, reason: 4 });
    expect(peer.ended).toBe(null);
  });

  test("F-145 media whose totals do not count it breaks its session alone, and nothing throws at either reader", async () => {
    const peer = await rawPair();
    const breaks = () =>
      peer.got.flatMap((m) => m.frames).flatMap(({ frame }) => (frame.case === "break" ? [frame.value] : []));
    peer.send({ frames: [bind("false", 1), bind("true", 3)] });
    await until(() => rig!.runtime.sessions.size === 2, "both sessions");
    const event = { lane: 2, eventNumber: 1, audio: new Uint8Array(640), durationUs: 20_000 };
    const free = { ...event, sessionRef: 1, sentAudioUs: 0, sentBytes: 0 };
    peer.sendMedia({ events: Array.from({ length: 100 }, (_, i) => ({ ...free, sequence: i + 1 })) });
    await until(() => breaks().length === 1, "the credit violation");
    expect(breaks()[0]).toMatchObject({ sessionRef: 1, reason: 4 });
    expect(marks(rig!.runtime.seen("false"))).toEqual([]);
    peer.sendMedia({ events: [{ ...event, sessionRef: 3, sequence: 1, sentAudioUs: 20_000, sentBytes: 640 }] });
    await until(() => marks(rig!.runtime.seen("true")).length === 1, "the neighbour's frame");
    expect(peer.ended).toBe(null);
  });

  test("media of a session nobody bound is held a second, bounded, then forgotten", async () => {
    const peer = await rawPair();
    const event = {
      sessionRef: 9,
      lane: 2,
      eventNumber: 1,
      audio: new Uint8Array(640),
      durationUs: 20_000,
      sentBytes: 640,
    };
    const events = Array.from({ length: 200 }, (_, i) => ({ ...event, sequence: i + 1 }));
    for (let n = 0; n < 10; n++) peer.sendMedia({ events });
    const refused = () => rig!.runtime.notices.flatMap((n) => (n.kind === "frame_refused" ? [n.reason] : []));
    await until(() => refused().length === 2_000, "all are refused in the end");
    expect(new Set(refused())).toEqual(new Set(["unknown_ref_overflow", "unknown_ref_timeout"]));
    expect(peer.ended).toBe(null);
  });

  test("bytes that are no message, and a message past the bound, end the stream with the reason", async () => {
    rig = await rigUp();
    const channel = openChannel({ address: `127.0.0.1:${rig.grpc.port}`, messageBytesMax: 4_000_000 });
    channels.push(channel);
    const call = channel.client.makeBidiStreamRequest(
      "/rspp.runtime.v1.LinkService/Control",
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
    );
    const status = new Promise<{ code: number; details: string }>((resolve) => call.on("status", resolve));
    call.on("error", () => undefined);
    call.on("data", () => undefined);
    call.write(Buffer.from([0xff, 0xff, 0xff]));
    expect(await status).toMatchObject({ code: 3, details: expect.stringContaining("malformed_frame") });
    const large = raw(rig.grpc.port);
    large.send({ hello: hello({ build: "b".repeat(2_000_000) }) });
    expect((await reasonOf(large)).reason).toBe(ErrorReason.MESSAGE_TOO_LARGE);
  });
});

describe("lines that are slow or dead", () => {
  test("on a slow media line control is not delayed, and media arrives in order, with declared drops at most", async () => {
    rig = await rigUp();
    const { adapter, runtime, client, media } = rig;
    const a = adapter.bind(client.end, "s-1");
    await until(() => runtime.sessions.has("s-1"), "the session");
    media.bytesPerS = 60_000;
    const r = runtime.seen("s-1");
    for (let n = 1; n <= 150; n++) r.port.sendMedia(audio("s-1", n, { turn: 1 }));
    const tookMs: number[] = [];
    for (let n = 1; n <= 10; n++) {
      const atMs = performance.now();
      const before = a.events.filter((e) => e.kind === "overtaking").length;
      r.port.sendControl(fence(), { class: "overtaking", cutoff: { turn: 0, generation: 0, olderTurns: false } });
      await until(() => a.events.filter((e) => e.kind === "overtaking").length > before, "a control message");
      tookMs.push(performance.now() - atMs);
    }
    expect(marks(a).length).toBeLessThan(150);
    await until(() => marks(a).length === 150, "all media in the end", 10_000);
    expect(marks(a)).toEqual(Array.from({ length: 150 }, (_, i) => i + 1));
    tookMs.sort((x, y) => x - y);
    console.info(
      `control beside a media line of 60 kB/s: p50 ${tookMs[5]?.toFixed(1)} max ${tookMs[9]?.toFixed(1)} ms`,
    );
    expect(tookMs[5]).toBeLessThan(50);
  });

  test("a control line that takes nothing and says nothing is given up within seconds, at both ends", async () => {
    rig = await rigUp({ client: { reconnect: false } });
    const a = rig.adapter.bind(rig.client.end, "s-1");
    await until(() => rig!.runtime.sessions.has("s-1"), "the session");
    rig.control.stall(true);
    await until(() => a.broken !== null && rig!.runtime.seen("s-1").broken !== null, "the break", 9_000);
    const { adapter, runtime } = rig;
    await until(() => adapter.downs.length > 0 && runtime.downs.length > 0, "the end of the pair");
    // Both count the same silence; whoever gives up first takes the media line with it, which the other may see first.
    const words = [...adapter.downs, ...runtime.downs].sort();
    expect(words).toEqual([words[0] === "media_lost" ? "media_lost" : "silent", "silent"]);
  });
});
