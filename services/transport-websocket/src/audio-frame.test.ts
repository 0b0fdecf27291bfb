import { create, toBinary } from "@bufbuild/protobuf";
import { ClientFrameSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AudioFrame } from "./audio-frame.ts";
import { decodeClientFrame } from "./frame-codec.ts";

const frame = new AudioFrame();

interface Audio {
  sequence: bigint;
  data: Uint8Array<ArrayBuffer>;
  durationUs: number;
}

const audioBytes = (value: Audio) =>
  toBinary(ClientFrameSchema, create(ClientFrameSchema, { message: { case: "audio", value } }));

/** What is read is what the decoder makes of it, which finds nothing wrong. */
function agrees(bytes: Uint8Array): boolean {
  if (!frame.read(bytes)) return false;
  const { sequence, durationUs, from, to } = frame;
  const decoded = decodeClientFrame(bytes, "binary");
  if (!decoded.ok) throw new Error(`read, but refused: ${decoded.error.reason}`);
  const { message } = decoded.value;
  if (message.case !== "audio") throw new Error(`read, but ${message.case}`);
  const { value } = message;
  expect([BigInt(sequence), durationUs]).toEqual([value.sequence, value.durationUs]);
  expect(Buffer.compare(bytes.subarray(from, to), value.data)).toBe(0);
  expect(decoded.value.$unknown ?? value.$unknown ?? []).toEqual([]);
  return true;
}

const sequences = fc.oneof(fc.bigInt({ min: 1n, max: 300n }), fc.bigInt({ min: 1n, max: 2n ** 49n - 1n }));
const data = (max: number) =>
  fc.uint8Array({ minLength: 1, maxLength: max }).map((bytes): Uint8Array<ArrayBuffer> => new Uint8Array(bytes));

describe("audio read from its bytes", () => {
  test("F-030 every frame of audio that a client sends is read as the decoder reads it", () => {
    const durations = fc.oneof(fc.constant(0), fc.constant(20_000), fc.integer({ min: 0, max: 10_000_000 }));
    fc.assert(
      fc.property(sequences, data(400), durations, (sequence, bytes, durationUs) => {
        expect(agrees(audioBytes({ sequence, data: bytes, durationUs }))).toBe(true);
      }),
    );
    const large = new Uint8Array(262_144).fill(7);
    expect(agrees(audioBytes({ sequence: 1n, data: large, durationUs: 10_000_000 }))).toBe(true);
  });

  test("what the decoder would refuse is never read", () => {
    const good = audioBytes({ sequence: 300n, data: new Uint8Array([1, 2, 3, 4]), durationUs: 20_000 });
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, cut) => {
        const bad = good.slice();
        bad[at] = value;
        agrees(bad);
        agrees(bad.subarray(0, cut));
        agrees(new Uint8Array([...bad, value]));
      }),
      { numRuns: 2_000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void agrees(bytes)));
  });

  test.each([
    ["no sequence", { sequence: 0n, data: new Uint8Array(4), durationUs: 20_000 }],
    ["no samples", { sequence: 1n, data: new Uint8Array(0), durationUs: 20_000 }],
    ["too long", { sequence: 1n, data: new Uint8Array(4), durationUs: 10_000_001 }],
    ["too many bytes", { sequence: 1n, data: new Uint8Array(262_145), durationUs: 20_000 }],
    ["a sequence past exact arithmetic", { sequence: 2n ** 63n, data: new Uint8Array(4), durationUs: 20_000 }],
  ])("%s is left to the decoder", (_what, audio) => {
    expect(frame.read(audioBytes(audio))).toBe(false);
  });
});
