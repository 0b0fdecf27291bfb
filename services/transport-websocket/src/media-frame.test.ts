import { fromBinary } from "@bufbuild/protobuf";
import { asMonoNs, asWallMs } from "@rspp/base/brand";
import { ServerFrameSchema } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { Media } from "@rspp/transport/audio-out";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createEventWriter } from "./events.ts";
import { recordFrame } from "./frame-codec.ts";

const formats: readonly AudioFormat[] = [
  { codec: "mulaw", rateHz: 8_000, channels: 1 },
  { codec: "pcm_s16le", rateHz: 44_100, channels: 2 },
  { codec: "opus", rateHz: 48_000, channels: 1 },
];
const number = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 0xffff_ffff }));
const instants = fc.oneof(
  fc.nat(1_000_000).map((n) => n * 20_000),
  fc.maxSafeNat(),
);
const lengths = fc.oneof(fc.constantFrom(0, 1, 125, 126, 160, 640), fc.integer({ min: 0, max: 9_000 }));
const medias: fc.Arbitrary<Media> = fc.record({
  kind: fc.constant("media" as const),
  epoch: fc.constant(1),
  turn: number,
  generation: number,
  sequence: number,
  offsetUs: instants,
  durationUs: fc.oneof(fc.constant(20_000), fc.integer({ min: 0, max: 10_000_000 })),
  format: fc.constantFrom(...formats),
  bytes: lengths.map((length) => new Uint8Array(length).map((_, i) => i * 7)),
  end: fc.boolean(),
});
const constants = fc.record({
  tenant: fc.string({ minLength: 1, maxLength: 64, unit: "grapheme" }),
  session: fc.string({ minLength: 1, maxLength: 128 }),
  pipelineVersion: fc.string({ minLength: 1, maxLength: 160 }),
  epoch: fc.oneof(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
});
const clocks = fc.record({
  nowNs: fc.constantFrom(0, 1, 86_400_000_000_000),
  wallMs: fc.constantFrom(0, 1, 1_790_000_000_000),
});

/** A clock that stands still. */
function clockAt(nowNs: number, wallMs: number): Clock {
  return {
    nowNs: () => asMonoNs(nowNs),
    wallMs: () => asWallMs(wallMs),
    timerAt: () => ({ clear: () => undefined }),
    hold: () => () => undefined,
  };
}

describe("audio written straight to bytes", () => {
  test("F-030 it is, byte for byte, the frame that the message makes, behind its header", () => {
    fc.assert(
      fc.property(
        constants,
        clocks,
        fc.maxSafeNat(),
        fc.array(medias, { minLength: 1, maxLength: 12 }),
        (of, at, sequence, all) => {
          const clock = clockAt(at.nowNs, at.wallMs);
          const byMessage = createEventWriter(clock, () => of);
          const byHand = createEventWriter(clock, () => of);
          for (const media of all) {
            const event = byMessage.media(media);
            const value = { $typeName: "rspp.transport.v1.ServerEvent" as const, event };
            const expected = recordFrame(sequence, { case: "event", value });
            const { bytes, header } = byHand.frame(sequence, media);
            expect(Buffer.compare(bytes.subarray(header), expected)).toBe(0);
            expect([...bytes.subarray(0, header)]).toEqual(headerOf(expected.length));
          }
        },
      ),
    );
  });

  test("frames do not share what they are written to, and large ones have the long header", () => {
    const of = { tenant: "t", session: "s", pipelineVersion: "p@1", epoch: 1 };
    const writer = createEventWriter(clockAt(1, 1), () => of);
    const base = {
      kind: "media",
      epoch: 1,
      turn: 0,
      generation: 0,
      offsetUs: 0,
      durationUs: 20_000,
      end: false,
    } as const;
    const format = formats[0] as AudioFormat;
    const frames = Array.from({ length: 600 }, (_, i) => {
      const bytes = new Uint8Array(i === 300 ? 70_000 : 160).fill(i);
      return writer.frame(i + 1, { ...base, sequence: i + 1, format, bytes });
    });
    for (const [i, { bytes, header }] of frames.entries()) {
      expect(header).toBe(i === 300 ? 10 : 4);
      const { message, sequence } = fromBinary(ServerFrameSchema, bytes.subarray(header));
      expect(sequence).toBe(BigInt(i + 1));
      const payload = message.case === "event" ? message.value.event?.payload : undefined;
      expect(payload?.case === "audio" ? payload.value.data[159] : -1).toBe(i & 0xff);
    }
    expect([...(frames[300]?.bytes.subarray(0, 2) ?? [])]).toEqual([0x82, 127]);
  });
});

/** RFC 6455: final, binary, unmasked. */
function headerOf(length: number): number[] {
  if (length < 126) return [0x82, length];
  return length < 65_536 ? [0x82, 126, length >> 8, length & 0xff] : [0x82, 127];
}
