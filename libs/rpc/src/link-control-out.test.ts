import { create } from "@bufbuild/protobuf";
import { type LinkControlFrame, LinkControlFrameSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { LinkFrame } from "@rspp/protocol/link-types";
import type { LinkPayload } from "@rspp/wire/link-control";
import { expect, test } from "vitest";
import { limits } from "./limits.ts";
import { ControlWriter } from "./link-control-out.ts";
import type { ControlWire } from "./link-wires.ts";

const ping = (nonce: bigint): LinkControlFrame =>
  create(LinkControlFrameSchema, { frame: { case: "ping", value: { nonce } } });

function rig() {
  const sent: (readonly LinkControlFrame[])[] = [];
  const written: (() => void)[] = [];
  let overflows = 0;
  let wire: ControlWire | undefined = {
    send: (frames: readonly LinkControlFrame[], done: () => void) => {
      sent.push(frames);
      written.push(done);
    },
    close: () => undefined,
  } as unknown as ControlWire;
  const writer = new ControlWriter(
    () => wire,
    () => {
      overflows += 1;
    },
  );
  return {
    sent,
    written,
    writer,
    overflows: () => overflows,
    cut: () => {
      wire = undefined;
    },
  };
}

test("what one piece of work sends leaves in one message, in its order, before anything else runs", async () => {
  const { sent, writer } = rig();
  const frames = [ping(1n), ping(2n), ping(3n)];
  for (const frame of frames) writer.send([frame]);
  expect(sent).toEqual([]);
  await Promise.resolve();
  expect(sent).toEqual([frames]);
});

test("closing sends what waits; a connection that is gone takes nothing with it into the next", async () => {
  const { sent, writer, cut } = rig();
  writer.send([ping(1n)]);
  writer.flush();
  expect(sent.length).toBe(1);
  writer.send([ping(2n)]);
  cut();
  await Promise.resolve();
  expect(sent.length).toBe(1);
});

test("what the peer does not take is bounded: past the bound the pair is given up", () => {
  const { writer, written, overflows } = rig();
  const all = Array.from({ length: limits.LINK_CONTROL_IN_FLIGHT_ITEMS_MAX }, (_, n) => ping(BigInt(n + 1)));
  writer.send(all);
  writer.flush();
  expect(overflows()).toBe(0);
  writer.send([ping(0n)]);
  writer.flush();
  expect(overflows()).toBe(1);
  for (const done of written) done();
});

test("a tried message is used once and for its own payload only; it gets the place the machine gave it", () => {
  const { writer } = rig();
  const payload = { kind: "positioned" } as unknown as LinkPayload;
  const frame = create(LinkControlFrameSchema, { frame: { case: "positioned", value: { sequence: 1 } } });
  const placed = (of: LinkPayload): LinkFrame<LinkPayload> => ({
    kind: "positioned",
    ref: 1,
    seq: 7,
    lastMediaSeq: 42,
    payload: of,
  });
  writer.tried(payload, frame);
  expect(writer.again(placed({ ...payload }))).toBeNull();
  expect(writer.again(placed(payload))).toBe(frame);
  expect(frame.frame.value).toMatchObject({ sequence: 7, lastMediaSequence: 42 });
  expect(writer.again(placed(payload))).toBeNull();
});
