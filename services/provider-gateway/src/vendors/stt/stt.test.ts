import { encodeMulaw } from "@rspp/audio/g711";
import { rms, s16ToBytes } from "@rspp/audio/pcm";
import type { AudioFormat } from "@rspp/ports/provider";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { failureOfCode } from "../assemblyai/answer.ts";
import { failureOfClose } from "../deepgram/answer.ts";
import { failureOfGrpc } from "../google/grpc-failure.ts";
import { failureOfStatus } from "./failure.ts";
import { heardOf, wordTimings } from "./heard.ts";
import { joinPcm, PcmIntake } from "./pcm-intake.ts";
import { fittingTerms } from "./settings.ts";

function tone(rateHz: number, ms: number): Int16Array {
  return Int16Array.from(
    { length: (rateHz * ms) / 1_000 },
    (_, i) => 8_000 * Math.sin((2 * Math.PI * 440 * i) / rateHz),
  );
}

/** All of `pieces` through an intake, as the vendor would get it. */
async function taken(format: AudioFormat, pieces: readonly Uint8Array[]): Promise<Int16Array> {
  const given: Uint8Array[] = [];
  const intake = new PcmIntake((pcm) => given.push(pcm));
  for (const piece of pieces) expect(intake.push(piece, format)).toBeUndefined();
  await new Promise<void>((resolve) => intake.flush(resolve));
  intake.close();
  const all = joinPcm(given);
  return new Int16Array(all.buffer, 0, all.length / 2);
}

describe("audio on its way to a vendor", () => {
  const own = { codec: "pcm_s16le", rateHz: 16_000, channels: 1 } as const;

  test("the runtime's own format goes at once, as a copy", () => {
    const given: Uint8Array[] = [];
    const intake = new PcmIntake((pcm) => given.push(pcm));
    const frame = new Uint8Array(640).fill(7);
    intake.push(frame, own);
    frame.fill(0);
    expect(given).toEqual([new Uint8Array(640).fill(7)]);
    let flushed = false;
    intake.flush(() => {
      flushed = true;
    });
    expect(flushed).toBe(true);
  });

  test.each([
    ["mu-law of a telephone", { codec: "mulaw", rateHz: 8_000, channels: 1 }, encodeMulaw(tone(8_000, 200))],
    ["a browser's rate", { codec: "pcm_s16le", rateHz: 48_000, channels: 1 }, s16ToBytes(tone(48_000, 200))],
  ] as const)("%s becomes 16 kHz, in order and whole, however it is cut", async (_name, format, bytes) => {
    const frameBytes = format.codec === "mulaw" ? 160 : 1_920;
    const pieces = Array.from({ length: bytes.length / frameBytes }, (_, n) =>
      bytes.slice(n * frameBytes, (n + 1) * frameBytes),
    );
    const heard = await taken(format, pieces);
    expect(heard.length).toBe(3_200);
    expect(rms(heard)).toBeGreaterThan(0.15);
    expect(await taken(format, [bytes])).toEqual(heard);
  });

  test("two channels become one", async () => {
    const mono = tone(16_000, 20);
    const both = Int16Array.from({ length: mono.length * 2 }, (_, i) => mono[i >> 1] ?? 0);
    expect(await taken({ ...own, channels: 2 }, [s16ToBytes(both)])).toEqual(mono);
  });

  test("closed while the resampler loads, it gives nothing; what no vendor takes is refused in words", async () => {
    const given: Uint8Array[] = [];
    const intake = new PcmIntake((pcm) => given.push(pcm));
    intake.push(new Uint8Array(320), { ...own, rateHz: 8_000 });
    let flushed = false;
    intake.flush(() => {
      flushed = true;
    });
    intake.close();
    await taken({ ...own, rateHz: 8_000 }, [new Uint8Array(320)]);
    expect([given, flushed]).toEqual([[], false]);
    const refused = (format: AudioFormat): string | undefined =>
      new PcmIntake(() => {}).push(new Uint8Array(2), format);
    expect(refused({ ...own, rateHz: 4_000 })).toContain("8000 to 48000 Hz");
    expect(refused({ ...own, channels: 6 })).toContain("1 or 2 channels");
    expect(refused({ ...own, codec: "vorbis" as "opus" })).toContain("opus is taken");
    const changed = new PcmIntake(() => {});
    changed.push(new Uint8Array(2), own);
    expect(changed.push(new Uint8Array(2), { ...own, channels: 2 })).toContain("changed its format");
  });
});

describe("words", () => {
  test("F-160 a word's offsets are where it stands, in order, whatever was left out", () => {
    const word = fc.stringMatching(/^[a-zäß日0-9',.]{1,8}$/);
    fc.assert(
      fc.property(fc.array(fc.tuple(word, fc.boolean()), { maxLength: 12 }), (spoken) => {
        const text = spoken.map(([one]) => one).join(" ");
        const words = spoken.flatMap(([one, told], n) =>
          told ? [{ text: one, startUs: n * 1_000, endUs: n * 1_000 + 900 }] : [],
        );
        let last = 0;
        for (const { from, to, startUs, endUs } of wordTimings(text, words)) {
          expect(from).toBeGreaterThanOrEqual(last);
          expect(to).toBeGreaterThan(from);
          expect(endUs).toBeGreaterThanOrEqual(startUs);
          last = to;
        }
        const all = spoken.map(([one], n) => ({ text: one, startUs: n, endUs: n }));
        expect(wordTimings(text, all).map(({ from, to }) => text.slice(from, to))).toEqual(spoken.map(([one]) => one));
      }),
    );
  });

  test("what a vendor did not tell is not told: no confidence out of range, no times that are none", () => {
    expect(heardOf("go", true, { confidence: 1.2, language: "", words: [], endpoint: false })).toEqual({
      text: "go",
      final: true,
    });
    expect(wordTimings("ten", [{ text: "10", startUs: 0, endUs: 1 }])).toEqual([]);
    expect(wordTimings("ten", [{ text: "ten", startUs: Number.NaN, endUs: 1 }])).toEqual([]);
  });

  test("X-09 key terms: trimmed, each once, no longer than vendors take", () => {
    expect(fittingTerms([" Quark ", "Quark", "", "x".repeat(51), "Gluon"])).toEqual(["Quark", "Gluon"]);
    expect(fittingTerms(Array.from({ length: 300 }, (_, n) => `t${n}`)).length).toBe(100);
  });
});

describe("F-131 F-160 failures have one set of names", () => {
  test.each([
    [401, false, "unauthorized", ""],
    [403, false, "unauthorized", ""],
    [402, false, "overload", "quota:"],
    [429, true, "overload", "quota:"],
    [429, false, "overload", "rate_limited:"],
    [503, false, "overload", ""],
    [529, false, "overload", ""],
    [504, false, "timeout", ""],
    [400, false, "error", ""],
    [500, false, "error", ""],
  ])("HTTP %i (quota %s) is %s", (status, quota, kind, begins) => {
    const failure = failureOfStatus(status, quota);
    expect(failure.kind).toBe(kind);
    expect(failure.detail.startsWith(begins)).toBe(true);
  });

  test.each([
    [16, "API key not valid", "unauthorized", ""],
    [7, "denied", "unauthorized", ""],
    [8, "Quota exceeded for limit 'Requests per minute'", "overload", "rate_limited:"],
    [8, "Quota exhausted", "overload", "quota:"],
    [14, "No connection established. Last error: connect ECONNREFUSED", "disconnect", ""],
    [14, "The service is currently unavailable.", "overload", ""],
    [13, "Response message parsing error: index out of range", "error", "malformed"],
    [13, "Received RST_STREAM with code 2", "disconnect", ""],
    [4, "Deadline exceeded", "timeout", ""],
    [11, "Audio Timeout Error", "error", ""],
    [undefined, "", "disconnect", ""],
  ])("gRPC status %s, %s", (code, details, kind, begins) => {
    const failure = failureOfGrpc({ code, details });
    expect(failure.kind).toBe(kind);
    expect(failure.detail.startsWith(begins)).toBe(true);
    if (details !== "") expect(failure.detail).not.toContain(details);
  });

  test.each([
    [failureOfClose(1011, "NET-0001"), "timeout"],
    [failureOfClose(1011, ""), "error"],
    [failureOfClose(1008, "DATA-0000"), "error"],
    [failureOfClose(1006, ""), "disconnect"],
    [failureOfCode(1008, "Unauthorized Connection: invalid token"), "unauthorized"],
    [failureOfCode(1008, "Too many concurrent sessions"), "overload"],
    [failureOfCode(4002, "Insufficient funds"), "overload"],
    [failureOfCode(3009, ""), "overload"],
    [failureOfCode(3006, "Invalid"), "error"],
    [failureOfCode(3005, ""), "error"],
    [failureOfCode(1006, ""), "disconnect"],
  ])("a socket closed with %o is %s", ({ kind }, expected) => {
    expect(kind).toBe(expected);
  });
});
