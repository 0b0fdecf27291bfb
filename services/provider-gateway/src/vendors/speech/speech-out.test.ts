import { decodeMulaw } from "@rspp/audio/g711";
import { bytesToS16, rms, s16ToBytes } from "@rspp/audio/pcm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Attempt } from "../../attempt.ts";
import { recorder } from "../../testing/recorder.ts";
import { formatOf, outputFormats } from "./settings.ts";
import { SpeechOut, speakable } from "./speech-out.ts";

const tone = (rateHz: number, ms: number): Int16Array =>
  Int16Array.from({ length: (rateHz * ms) / 1_000 }, (_, i) =>
    Math.round(8_000 * Math.sin((2 * Math.PI * 440 * i) / rateHz)),
  );

async function spoken(format: string, sourceHz: number, whole: boolean, parts: Uint8Array[]) {
  const sink = recorder();
  const out = await SpeechOut.open({ attempt: new Attempt(sink), format: formatOf(format), sourceHz, whole });
  out.begin({ text: "Hello.", segment: 3 });
  for (const part of parts) out.audio(part);
  const before = sink.chunks.length;
  const said = out.end();
  out.close();
  const audio = sink.chunks.flatMap((chunk) => (chunk.kind === "audio" ? [chunk] : []));
  return { audio, before, said, out, bytes: new Uint8Array(sink.audio()) };
}

describe("what a voice gives becomes frames of 20 ms", () => {
  test.each(outputFormats.flatMap((format) => [16_000, 24_000].map((hz) => [format, hz] as const)))(
    "F-055 %s out of %i Hz: the same sound, as long, its last frame marked",
    async (name, sourceHz) => {
      const { audio, bytes, out } = await spoken(name, sourceHz, false, [s16ToBytes(tone(sourceHz, 200))]);
      const format = formatOf(name);
      expect(audio.length).toBe(10);
      for (const [i, chunk] of audio.entries()) {
        expect(chunk).toMatchObject({ format, durationUs: 20_000, segment: 3, segmentChars: 6, segmentEnd: i === 9 });
        expect(chunk.bytes.length).toBe((format.rateHz / 50) * (format.codec === "mulaw" ? 1 : 2));
      }
      expect(out.audioUs).toBe(200_000);
      expect(rms(format.codec === "mulaw" ? decodeMulaw(bytes) : bytesToS16(bytes))).toBeCloseTo(0.17, 1);
    },
  );

  test("samples cut in two anywhere give the same", async () => {
    const all = s16ToBytes(tone(16_000, 110));
    const { bytes: plain } = await spoken("pcm_16000", 16_000, false, [all]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1, maxLength: 8 }), async (sizes) => {
        const parts: Uint8Array[] = [];
        for (let at = 0, n = 0; at < all.length; at += parts.at(-1)?.length ?? 1)
          parts.push(all.slice(at, at + (sizes[n++ % sizes.length] ?? 1)));
        const cut = await spoken("pcm_16000", 16_000, false, parts);
        expect(Buffer.compare(cut.bytes, plain)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  test("streamed it goes on as it comes, but for the last frame; whole only at the end; nothing is no clause", async () => {
    const parts = [s16ToBytes(tone(16_000, 40)), s16ToBytes(tone(16_000, 40))];
    expect(await spoken("pcm_16000", 16_000, false, parts)).toMatchObject({ before: 3, said: true });
    expect(await spoken("pcm_16000", 16_000, true, parts)).toMatchObject({ before: 0, said: true });
    expect(await spoken("pcm_16000", 16_000, false, [])).toMatchObject({ audio: [], said: false });
  });
});

test("what no voice can say is known", () => {
  expect(["...", " — ", "?!", "🚀"].some(speakable)).toBe(false);
  expect(["a", "7.", "東京"].every(speakable)).toBe(true);
});
