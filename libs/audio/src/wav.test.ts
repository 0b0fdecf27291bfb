import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeAlaw, encodeMulaw } from "./g711.ts";
import { interleave } from "./pcm.ts";
import { parseWav, WavError, type WavErrorCode, wavTo16kMono, writeWav } from "./wav.ts";

interface Shape {
  tag: number;
  bits: number;
  channels?: number;
  rateHz?: number;
  extensible?: boolean;
  sizeField?: number;
}

function build(data: Uint8Array, shape: Shape): Uint8Array {
  const { tag, bits, channels = 1, rateHz = 16000, extensible = false } = shape;
  const fmtSize = extensible ? 40 : 16;
  const out = new Uint8Array(12 + 8 + fmtSize + 8 + data.length);
  const view = new DataView(out.buffer);
  out.set(new TextEncoder().encode("RIFF"), 0);
  view.setUint32(4, out.length - 8, true);
  out.set(new TextEncoder().encode("WAVEfmt "), 8);
  view.setUint32(16, fmtSize, true);
  view.setUint16(20, extensible ? 0xfffe : tag, true);
  view.setUint16(22, channels, true);
  view.setUint32(24, rateHz, true);
  view.setUint16(32, (channels * bits) / 8, true);
  view.setUint16(34, bits, true);
  if (extensible) {
    view.setUint16(44, tag, true);
    out.set([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71], 46);
  }
  const at = 20 + fmtSize;
  out.set(new TextEncoder().encode("data"), at);
  view.setUint32(at + 4, shape.sizeField ?? data.length, true);
  out.set(data, at + 8);
  return out;
}

function codeOf(bytes: Uint8Array): WavErrorCode {
  try {
    parseWav(bytes);
  } catch (error) {
    if (error instanceof WavError) {
      expect(error.message).toContain(error.remedy);
      expect(error.remedy.length).toBeGreaterThan(5);
      return error.code;
    }
    throw error;
  }
  throw new Error("expected a WavError");
}

const tone = Int16Array.from({ length: 480 }, (_, i) => Math.round(12000 * Math.sin((2 * Math.PI * 440 * i) / 16000)));

describe("WAV", () => {
  test("what is written is read back, mono and stereo, 8 to 48 kHz", () => {
    for (const rateHz of [8000, 11025, 16000, 22050, 24000, 44100, 48000]) {
      const mono = parseWav(writeWav(tone, { rateHz, channels: 1 }));
      expect(mono).toMatchObject({ rateHz, channels: 1, encoding: "s16", frames: 480, truncated: false });
      expect(mono.samples).toEqual(tone);
    }
    const both = interleave(
      tone,
      tone.map((v) => -v),
    );
    const stereo = parseWav(writeWav(both, { rateHz: 8000, channels: 2 }));
    expect(stereo).toMatchObject({ channels: 2, frames: 480, durationUs: 60_000 });
    expect(stereo.samples).toEqual(both);
    expect(() => writeWav(new Int16Array(3), { rateHz: 8000, channels: 2 })).toThrow(RangeError);
  });

  test("every encoding gives the same sound, plain and extensible", () => {
    const s24 = new Uint8Array(tone.length * 3);
    tone.forEach((v, i) => {
      s24.set([0, v & 255, (v >> 8) & 255], i * 3);
    });
    const s32 = new Uint8Array(Int32Array.from(tone, (v) => v * 65536).buffer);
    const f32 = new Uint8Array(Float32Array.from(tone, (v) => v / 32768).buffer);
    const u8 = Uint8Array.from(tone, (v) => (v >> 8) + 128);
    const s16 = new Uint8Array(tone.buffer);
    const cases: [Uint8Array, number, number, string, number][] = [
      [u8, 1, 8, "u8", 256],
      [s16, 1, 16, "s16", 0],
      [s24, 1, 24, "s24", 0],
      [s32, 1, 32, "s32", 0],
      [f32, 3, 32, "f32", 0],
      [encodeMulaw(tone), 7, 8, "mulaw", 600],
      [encodeAlaw(tone), 6, 8, "alaw", 600],
    ];
    for (const [data, tag, bits, encoding, tolerance] of cases) {
      for (const extensible of [false, true]) {
        const wav = parseWav(build(data, { tag, bits, extensible }));
        expect(wav.encoding).toBe(encoding);
        expect(wav.samples.length).toBe(tone.length);
        wav.samples.forEach((v, i) => {
          expect(Math.abs(v - tone[i]!)).toBeLessThanOrEqual(tolerance);
        });
      }
    }
  });

  test("floats beyond full scale and NaN are clipped", () => {
    const data = new Uint8Array(Float32Array.from([2, -2, Number.NaN, 0.5]).buffer);
    expect([...parseWav(build(data, { tag: 3, bits: 32 })).samples]).toEqual([32767, -32768, 0, 16384]);
  });

  test("a recording cut off in its audio is read as far as it goes and says so", () => {
    const whole = writeWav(tone, { rateHz: 16000, channels: 1 });
    expect(parseWav(whole.subarray(0, 44 + 101))).toMatchObject({ frames: 50, truncated: true });
    const data = new Uint8Array(9);
    expect(parseWav(build(data, { tag: 1, bits: 16 }))).toMatchObject({ frames: 4, truncated: true });
    const streamed = parseWav(build(data.subarray(0, 8), { tag: 1, bits: 16, sizeField: 0xffffffff }));
    expect(streamed).toMatchObject({ frames: 4, truncated: false });
  });

  test("unknown chunks, odd ones too, are skipped", () => {
    const whole = writeWav(tone, { rateHz: 16000, channels: 1 });
    const list = new Uint8Array([...new TextEncoder().encode("LIST"), 3, 0, 0, 0, 1, 2, 3, 0]);
    const mixed = new Uint8Array([...whole.subarray(0, 12), ...list, ...whole.subarray(12)]);
    expect(parseWav(mixed).samples).toEqual(tone);
  });

  test("each bad file names its fault and the remedy", () => {
    const data = new Uint8Array(8);
    const whole = writeWav(tone, { rateHz: 16000, channels: 1 });
    expect(codeOf(new Uint8Array(0))).toBe("empty");
    expect(codeOf(new TextEncoder().encode("ID3 this is an mp3 file"))).toBe("not_wav");
    expect(codeOf(new TextEncoder().encode("RIFX1234WAVE"))).toBe("not_wav");
    expect(codeOf(whole.subarray(0, 10))).toBe("not_wav");
    expect(codeOf(whole.subarray(0, 12))).toBe("fmt_missing");
    expect(codeOf(whole.subarray(0, 30))).toBe("fmt_damaged");
    expect(codeOf(whole.subarray(0, 36))).toBe("data_missing");
    expect(codeOf(whole.subarray(0, 45))).toBe("no_audio");
    expect(codeOf(new Uint8Array([...whole.subarray(0, 12), ...whole.subarray(36)]))).toBe("fmt_missing");
    expect(codeOf(build(data, { tag: 85, bits: 16 }))).toBe("encoding_unsupported");
    expect(codeOf(build(data, { tag: 1, bits: 12 }))).toBe("encoding_unsupported");
    expect(codeOf(build(data, { tag: 1, bits: 16, channels: 6 }))).toBe("channels_unsupported");
    expect(codeOf(build(data, { tag: 1, bits: 16, rateHz: 96000 }))).toBe("rate_unsupported");
    expect(codeOf(build(data, { tag: 1, bits: 16, rateHz: 4000 }))).toBe("rate_unsupported");
    expect(codeOf(build(data, { tag: 1, bits: 16, sizeField: 0 }))).toBe("no_audio");
  });

  test("odd recordings become 16 kHz mono", async () => {
    const stereo = interleave(new Int16Array(4410).fill(1000), new Int16Array(4410).fill(3000));
    const pcm = await wavTo16kMono(parseWav(writeWav(stereo, { rateHz: 44100, channels: 2 })));
    expect(pcm.length).toBe(1600);
    expect(Math.abs(pcm[800]! - 2000)).toBeLessThan(5);
  });

  test("random and mutated bytes give a WAV or a WavError, nothing else", () => {
    const check = (bytes: Uint8Array) => {
      try {
        const wav = parseWav(bytes);
        expect(wav.samples.length).toBe(wav.frames * wav.channels);
      } catch (error) {
        if (!(error instanceof WavError)) throw error;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), check), { numRuns: 500 });
    const seeds = [
      build(new Uint8Array(40), { tag: 1, bits: 24, channels: 2 }),
      build(new Uint8Array(40), { tag: 3, bits: 32, extensible: true }),
    ];
    const edit = fc.record({ at: fc.nat(90), value: fc.nat(255) });
    const mutated = fc.tuple(fc.constantFrom(...seeds), fc.array(edit, { maxLength: 8 }), fc.nat(110));
    fc.assert(
      fc.property(mutated, ([seed, edits, length]) => {
        const bytes = seed.slice(0, length);
        for (const { at, value } of edits) if (at < bytes.length) bytes[at] = value;
        check(bytes);
      }),
      { numRuns: 3000 },
    );
  });
});
