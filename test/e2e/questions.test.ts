import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { bytesToS16, dbfs, rms } from "@rspp/audio/pcm";
import { resample } from "@rspp/audio/resample";
import type { AudioFormat } from "@rspp/ports/provider";
import { answerTo } from "@rspp/provider-gateway/local/answers";
import { assistantGrammar } from "@rspp/provider-gateway/local/assistant-grammar";
import { findPocketsphinx, startDecoder } from "@rspp/provider-gateway/local/pocketsphinx-decoder";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { createCallerCodec } from "@rspp/transport-loopback/caller-codec";
import { ManualClock } from "@rspp/transport-loopback/testing/manual-clock";
import { readWavSource } from "@rspp/transport-loopback/wav-source";
import { describe, expect, test } from "vitest";
import { questionPath, questions } from "../fixtures/questions.ts";

const recogniser = findPocketsphinx();

type CodecName = AudioFormat["codec"];

/** What the runtime receives of 16 kHz speech, as one run of bytes. */
async function spoken(samples: Int16Array, codec: CodecName): Promise<Uint8Array> {
  const clock = new ManualClock();
  const adapter = createLoopbackAdapter({ clock, epoch: 1, codec: await createCallerCodec(codec) });
  const frames: Uint8Array[] = [];
  adapter.connect({ receive: (message) => message.kind === "audio" && frames.push(message.bytes) });
  adapter.speak(samples);
  clock.advanceMs(samples.length / 16 + 500);
  adapter.end();
  return Buffer.concat(frames);
}

async function throughTheLine(name: string, codec: CodecName): Promise<Uint8Array> {
  return spoken((await readWavSource(questionPath(name))).samples, codec);
}

const humanRecording = "/usr/share/pocketsphinx/test/data/goforward.raw";

async function recognise(file: string, audio: Uint8Array): Promise<string> {
  const decoder = startDecoder(file, assistantGrammar);
  decoder.write(audio);
  decoder.end();
  return (await decoder.result).text;
}

describe("the recorded questions", () => {
  test("each has its words beside it, is short, and has an answer of its own", async () => {
    const lost = answerTo([{ role: "user", text: "colourless green ideas" }]);
    for (const { name, text } of questions) {
      const source = await readWavSource(questionPath(name));
      expect(source.transcript).toBe(text);
      expect(source.stored).toEqual({ rateHz: 16_000, channels: 1, encoding: "s16" });
      expect(source.durationUs).toBeLessThan(3_000_000);
      expect(answerTo([{ role: "user", text }])).not.toBe(lost);
    }
  });

  test.skipIf(recogniser === undefined)(
    "F-130 each is really recognised from the frames of the loopback line",
    async () => {
      for (const { name, text } of questions) {
        expect(await recognise(recogniser ?? "", await throughTheLine(name, "pcm_s16le"))).toBe(text);
      }
    },
  );

  test.skipIf(recogniser === undefined)("F-023 F-090 the demo's questions are recognised after Opus, too", async () => {
    for (const { name, text } of questions.slice(0, 2)) {
      expect(await recognise(recogniser ?? "", await throughTheLine(name, "opus"))).toBe(text);
    }
  });

  test.skipIf(recogniser === undefined || !existsSync(humanRecording))(
    "F-130 a human voice is recognised from the frames of the loopback line, after Opus too",
    async () => {
      const samples = bytesToS16(await readFile(humanRecording));
      for (const codec of ["pcm_s16le", "opus"] as const) {
        expect(await recognise(recogniser ?? "", await spoken(samples, codec))).toBe("go forward ten meters");
      }
    },
  );

  // Not asked of the recogniser: its model is made for 16 kHz and fails on telephone speech without any codec, too.
  test.each(["mulaw", "alaw"] as const)(
    "F-090 what comes out of %s is the question at 8 kHz, 30 dB above its noise",
    async (codec) => {
      for (const { name } of questions.slice(0, 2)) {
        const heard = bytesToS16(await throughTheLine(name, codec));
        const { samples } = await readWavSource(questionPath(name));
        const narrow = await resample(samples, { inRateHz: 16_000, outRateHz: 8_000 });
        const reference = await resample(narrow, { inRateHz: 8_000, outRateHz: 16_000 });
        expect(signalToNoiseDb(reference, heard)).toBeGreaterThan(30);
      }
    },
  );
});

function signalToNoiseDb(reference: Int16Array, heard: Int16Array): number {
  const noise = reference.map((v, i) => v - (heard[i] ?? 0));
  return dbfs(rms(reference)) - dbfs(rms(noise));
}
