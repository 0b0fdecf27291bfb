import { createRequire } from "node:module";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_BYTES, FrameSplitter, splitFrames } from "./frames.ts";
import { decodeAlaw, decodeMulaw, encodeAlaw, encodeMulaw } from "./g711.ts";
import { createOpusDecoder, createOpusEncoder, OpusError } from "./opus.ts";
import { bytesToS16, dbfs, downmix, f32ToS16, rms, s16ToBytes, s16ToF32 } from "./pcm.ts";
import { createResampler, resample } from "./resample.ts";

function sine(rateHz: number, hz: number, frames: number, amplitude = 16000): Int16Array {
  return Int16Array.from({ length: frames }, (_, i) =>
    Math.round(amplitude * Math.sin((2 * Math.PI * hz * i) / rateHz)),
  );
}

/** Signal to noise in dB, the edges left out. */
function snrDb(got: Int16Array, wanted: Int16Array, edge: number): number {
  let signal = 0;
  let noise = 0;
  for (let i = edge; i < wanted.length - edge; i++) {
    signal += wanted[i]! ** 2;
    noise += (got[i]! - wanted[i]!) ** 2;
  }
  return 10 * Math.log10(signal / Math.max(noise, 1e-9));
}

const samplesArb = fc
  .array(fc.integer({ min: -32768, max: 32767 }), { maxLength: 1500 })
  .map((a) => Int16Array.from(a));

describe("pcm", () => {
  test("s16 to f32 and back, and to bytes and back, loses nothing", () => {
    fc.assert(
      fc.property(samplesArb, (samples) => {
        expect(f32ToS16(s16ToF32(samples))).toEqual(samples);
        expect(bytesToS16(s16ToBytes(samples))).toEqual(samples);
      }),
    );
    expect([...bytesToS16(new Uint8Array([9, 1, 0, 2, 0, 7]).subarray(1))]).toEqual([1, 2]);
  });

  test("downmix and level", () => {
    expect([...downmix(Int16Array.of(100, 300, -5, 5, 1), 2)]).toEqual([200, 0]);
    expect(rms(new Int16Array(0))).toBe(0);
    expect(dbfs(rms(sine(16000, 1000, 1600, 32767)))).toBeCloseTo(-3.01, 1);
    expect(dbfs(0)).toBe(-120);
  });
});

describe("frames", () => {
  test("any cut of the input gives the same frames of 20 ms", () => {
    fc.assert(
      fc.property(samplesArb, fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }), (samples, cuts) => {
        const splitter = new FrameSplitter();
        const peeking = new FrameSplitter();
        const out: Uint8Array[] = [];
        const peeked: Uint8Array[] = [];
        for (let at = 0, n = 0; at < samples.length; n++) {
          const take = cuts[n % cuts.length]!;
          out.push(...splitter.push(samples.subarray(at, at + take)));
          peeked.push(...peeking.peek(samples.subarray(at, at + take)).map((frame) => frame.slice()));
          at += take;
        }
        const rest = splitter.flush();
        const restPeeked = peeking.flush();
        if (rest) out.push(rest);
        if (restPeeked) peeked.push(restPeeked);
        expect(out).toEqual(splitFrames(samples));
        expect(peeked).toEqual(out);
        expect(out.every((frame) => frame.length === FRAME_BYTES)).toBe(true);
      }),
    );
    expect(splitFrames(new Int16Array(321)).length).toBe(2);
    const many = new FrameSplitter().peek(sine(16_000, 440, 16_000));
    expect(new Set(many.map(({ buffer }) => buffer)).size).toBe(50);
    expect(many).toEqual(splitFrames(sine(16_000, 440, 16_000)));
  });
});

describe("g711", () => {
  test("mu-law and A-law keep 35 dB of a tone, and code words survive the round trip", () => {
    const tone = sine(8000, 500, 4000);
    expect(snrDb(decodeMulaw(encodeMulaw(tone)), tone, 0)).toBeGreaterThan(35);
    expect(snrDb(decodeAlaw(encodeAlaw(tone)), tone, 0)).toBeGreaterThan(35);
    const words = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(decodeMulaw(encodeMulaw(decodeMulaw(words)))).toEqual(decodeMulaw(words));
    expect(decodeAlaw(encodeAlaw(decodeAlaw(words)))).toEqual(decodeAlaw(words));
  });
});

test("mu-law is coded as the reference codes it, every sample; into memory that is given, too", () => {
  const all = Int16Array.from({ length: 65_536 }, (_, i) => i - 32_768);
  const reference = createRequire(import.meta.url)("alawmulaw") as {
    mulaw: { encode(samples: Int16Array): Uint8Array; decode(bytes: Uint8Array): Int16Array };
    alaw: { decode(bytes: Uint8Array): Int16Array };
  };
  const coded = encodeMulaw(all);
  expect(Buffer.compare(coded, reference.mulaw.encode(all))).toBe(0);
  const words = Uint8Array.from({ length: 256 }, (_, i) => i);
  expect(decodeMulaw(words)).toEqual(reference.mulaw.decode(words));
  expect(decodeAlaw(words)).toEqual(reference.alaw.decode(words));
  const [bytes, samples] = [new Uint8Array(3), new Int16Array(3)];
  expect(encodeMulaw(Int16Array.of(-5, 0, 900), bytes)).toBe(bytes);
  expect([...decodeMulaw(bytes, samples)]).toEqual([...decodeMulaw(encodeMulaw(Int16Array.of(-5, 0, 900)))]);
});

test("what is peeked at is what would have been processed, frame by frame", async () => {
  for (const [inRateHz, outRateHz] of [
    [8_000, 16_000],
    [48_000, 16_000],
    [22_050, 16_000],
    [16_000, 16_000],
  ] as const) {
    const settings = { inRateHz, outRateHz, realTime: true };
    const [plain, peeking] = [await createResampler(settings), await createResampler(settings)];
    const input = sine(inRateHz, 440, inRateHz);
    for (let at = 0; at < input.length; at += inRateHz / 50) {
      const frame = input.subarray(at, at + inRateHz / 50);
      expect(peeking.peek(frame).slice()).toEqual(plain.process(frame));
    }
    expect(peeking.flush()).toEqual(plain.flush());
    plain.close();
    peeking.close();
  }
});

describe("resample in real time", () => {
  test.each([
    [8_000, 16_000],
    [48_000, 16_000],
    [16_000, 8_000],
  ])(
    "%i -> %i Hz: each 20 ms give 20 ms at once, at most 6 ms late, and nothing is lost",
    async (inRateHz, outRateHz) => {
      const stream = await createResampler({ inRateHz, outRateHz, realTime: true });
      const input = sine(inRateHz, 440, inRateHz / 5);
      const block = inRateHz / 50;
      const parts = Array.from({ length: 10 }, (_, i) => stream.process(input.slice(i * block, (i + 1) * block)));
      expect(parts.map((part) => part.length)).toEqual(parts.map(() => outRateHz / 50));
      expect(stream.latencyUs).toBeGreaterThan(0);
      expect(stream.latencyUs).toBeLessThanOrEqual(6_000);
      const late = Math.round((stream.latencyUs * outRateHz) / 1e6);
      const tail = stream.flush();
      expect(Math.abs(tail.length - late)).toBeLessThanOrEqual(1);
      const got = parts.flatMap((part) => [...part]).concat([...tail]);
      const expected = sine(outRateHz, 440, outRateHz / 5);
      // Away from the edges, where the filter sees silence, it is the same tone, later.
      const edge = outRateHz / 50;
      for (let i = edge; i < expected.length - edge; i++)
        expect(Math.abs((got[i + late] ?? 0) - (expected[i] ?? 0))).toBeLessThan(400);
    },
  );
});

describe("resample", () => {
  test.each([
    [8000, 16000],
    [16000, 8000],
    [22050, 16000],
    [24000, 16000],
    [44100, 16000],
    [48000, 16000],
    [16000, 48000],
  ])("%i to %i Hz keeps more than 70 dB and the exact length", async (inRateHz, outRateHz) => {
    const got = await resample(sine(inRateHz, 997, inRateHz), { inRateHz, outRateHz });
    const wanted = sine(outRateHz, 997, outRateHz);
    expect(got.length).toBe(wanted.length);
    expect(snrDb(got, wanted, outRateHz / 20)).toBeGreaterThan(70);
  });

  test("a stream in frames equals one shot, and works again after a flush", async () => {
    const settings = { inRateHz: 48000, outRateHz: 16000 };
    const input = sine(48000, 440, 48000);
    const once = await resample(input, settings);
    const stream = await createResampler(settings);
    for (let round = 0; round < 2; round++) {
      const parts: number[] = [];
      for (let at = 0; at < input.length; at += 961) parts.push(...stream.process(input.subarray(at, at + 961)));
      parts.push(...stream.flush());
      expect(Int16Array.from(parts)).toEqual(once);
    }
    stream.close();
    stream.close();
    expect(() => stream.process(input)).toThrow("closed");
  });

  test("stereo stays apart; bad rates are refused; equal rates pass", async () => {
    const left = sine(8000, 300, 800);
    const both = new Int16Array(1600);
    left.forEach((v, i) => {
      both[i * 2] = v;
    });
    const out = await resample(both, { inRateHz: 8000, outRateHz: 16000, channels: 2 });
    expect(out.length).toBe(3200);
    expect(out.every((v, i) => i % 2 === 0 || v === 0)).toBe(true);
    await expect(createResampler({ inRateHz: 1, outRateHz: 16000 })).rejects.toThrow(RangeError);
    expect(await resample(left, { inRateHz: 8000, outRateHz: 8000 })).toEqual(left);
  });
});

describe("opus", () => {
  test("20 ms frames survive encoding, and damage is named", () => {
    const encoder = createOpusEncoder({ rateHz: 16000, channels: 1 });
    const decoder = createOpusDecoder({ rateHz: 16000, channels: 1 });
    const tone = sine(16000, 440, 16000);
    const out: number[] = [];
    let bytes = 0;
    for (let at = 0; at < tone.length; at += 320) {
      const packet = encoder.encode(tone.subarray(at, at + 320));
      bytes += packet.length;
      out.push(...decoder.decode(packet));
    }
    expect(out.length).toBe(tone.length);
    expect(bytes).toBeLessThan(6000);
    expect(rms(Int16Array.from(out))).toBeCloseTo(rms(tone), 1);
    expect(() => encoder.encode(new Int16Array(100))).toThrow(RangeError);
    expect(() => decoder.decode(new Uint8Array(0))).toThrow(OpusError);
    expect(() => decoder.decode(new Uint8Array(5).fill(255))).toThrow(OpusError);
  });
});

test("samples of a Node Buffer at an odd offset are read rightly", () => {
  const bytes = Buffer.from([9, 1, 0, 2, 0, 255, 255]).subarray(1);
  expect([...bytesToS16(bytes)]).toEqual([1, 2, -1]);
});
