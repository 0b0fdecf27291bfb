import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeMulaw } from "@rspp/audio/g711";
import { interleave, rms } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readWavSource, readWavSources, WavSourceError } from "./wav-source.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "wav-source-"));
});
afterAll(() => rm(dir, { recursive: true }));

const tone = (rateHz: number) =>
  Int16Array.from({ length: rateHz / 2 }, (_, i) => Math.round(8_000 * Math.sin((2 * Math.PI * 300 * i) / rateHz)));

async function file(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(dir, name);
  await writeFile(path, bytes);
  return path;
}

/** A 44-byte header of its own around `data`. */
function wav(tag: number, bits: number, channels: number, rateHz: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(44 + data.length);
  out.set(writeWav(new Int16Array(0), { rateHz, channels: 1 }));
  const view = new DataView(out.buffer);
  view.setUint32(4, 36 + data.length, true);
  view.setUint16(20, tag, true);
  view.setUint16(22, channels, true);
  view.setUint16(32, (bits / 8) * channels, true);
  view.setUint16(34, bits, true);
  view.setUint32(40, data.length, true);
  out.set(data, 44);
  return out;
}

async function failure(path: string): Promise<WavSourceError> {
  const error = await readWavSource(path).catch((e: unknown) => e);
  if (!(error instanceof WavSourceError)) throw new Error("expected a WavSourceError", { cause: error });
  expect(error.path).toBe(path);
  expect(error.message).toContain(path);
  expect(error.message).toContain(error.remedy);
  expect(error.remedy.length).toBeGreaterThan(5);
  return error;
}

describe("WAV sources", () => {
  test("8 to 48 kHz, stereo, 24 bit and mu-law all become 16 kHz mono", async () => {
    const s24 = new Uint8Array(tone(16_000).length * 3);
    for (const [i, v] of tone(16_000).entries()) new DataView(s24.buffer).setInt16(i * 3 + 1, v, true);
    const stereo = interleave(tone(48_000), tone(48_000));
    const paths = [
      await file("8k.wav", writeWav(tone(8_000), { rateHz: 8_000, channels: 1 })),
      await file("48k-stereo.wav", writeWav(stereo, { rateHz: 48_000, channels: 2 })),
      await file("24bit.wav", wav(1, 24, 1, 16_000, s24)),
      await file("mulaw.wav", wav(7, 8, 1, 8_000, encodeMulaw(tone(8_000)))),
    ];
    const sources = await readWavSources(paths);
    for (const source of sources) {
      expect([source.samples.length, source.durationUs]).toEqual([8_000, 500_000]);
      expect(rms(source.samples)).toBeCloseTo(rms(tone(16_000)), 2);
      expect(source.transcript).toBeUndefined();
    }
    expect(sources.map((s) => s.stored.encoding)).toEqual(["s16", "s16", "s24", "mulaw"]);
  });

  test("the words of a sidecar file come along, on one line", async () => {
    const path = await file("said.wav", writeWav(tone(16_000), { rateHz: 16_000, channels: 1 }));
    await file("said.txt", " what time\r\n is it \n");
    expect((await readWavSource(path)).transcript).toBe("what time is it");
    await file("said.txt", " \n");
    expect((await readWavSource(path)).transcript).toBeUndefined();
  });

  test("a bad file is a clear error with its name and a remedy", async () => {
    const good = writeWav(tone(16_000), { rateHz: 16_000, channels: 1 });
    expect((await failure(join(dir, "nowhere.wav"))).code).toBe("missing");
    expect((await failure(await file("empty.wav", ""))).code).toBe("empty");
    expect((await failure(await file("song.wav", "ID3 this is no WAV at all"))).code).toBe("not_wav");
    expect((await failure(await file("header.wav", good.subarray(0, 30)))).code).toBe("fmt_damaged");
    expect((await failure(await file("six.wav", wav(1, 16, 6, 16_000, new Uint8Array(120))))).code).toBe(
      "channels_unsupported",
    );
    expect((await failure(await file("96k.wav", writeWav(tone(8_000), { rateHz: 96_000, channels: 1 })))).code).toBe(
      "rate_unsupported",
    );
    await mkdir(join(dir, "folder.wav"));
    expect((await failure(join(dir, "folder.wav"))).code).toBe("unreadable");
    const cut = await file("cut.wav", good.subarray(0, 9_001));
    expect((await failure(cut)).code).toBe("truncated");
    expect((await readWavSource(cut, { allowTruncated: true })).samples.length).toBe(4_478);
  });
});
