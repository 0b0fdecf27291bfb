import fc from "fast-check";
import { expect, test } from "vitest";
import { checkIngress } from "./ingress.ts";

const audio = {
  kind: "audio",
  epoch: 1,
  sequence: 1,
  mediaUs: 0,
  durationUs: 20_000,
  format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
  bytes: new Uint8Array(640),
};
const control = {
  kind: "control",
  epoch: 1,
  sequence: 1,
  signal: "mute",
  controlClass: "positioned",
  lastMediaSequence: 3,
};
const good: Record<string, unknown>[] = [
  audio,
  control,
  { kind: "delivery", epoch: 1, turn: 1, generation: 1, state: "completed", playedUs: 5 },
  { kind: "fence_ack", epoch: 1, turn: 1, generation: 2, playedUs: 5, flushed: 0 },
];

test("what is right is taken in", () => {
  for (const message of good) expect(checkIngress(message)).toBeNull();
});

test("any value in any field: taken in or refused with field and remedy, never thrown", () => {
  const message = fc
    .constantFrom(...good)
    .chain((base) =>
      fc.record({ base: fc.constant(base), field: fc.constantFrom(...Object.keys(base)), value: fc.anything() }),
    );
  fc.assert(
    fc.property(message, ({ base, field, value }) => {
      const refusal = checkIngress({ ...base, [field]: value });
      if (refusal === null) return;
      expect(refusal.field).not.toBe("");
      expect(refusal.reason).not.toBe("");
      expect(refusal.remedy).not.toBe("");
    }),
    { numRuns: 2_000 },
  );
  fc.assert(fc.property(fc.anything(), (anything) => checkIngress(anything) === null || true));
});

test("odd audio formats: 8 to 48 kHz and stereo pass, what does not add up is named", () => {
  const pcm = (rateHz: number, channels: number, bytes: number, durationUs = 20_000) =>
    checkIngress({
      ...audio,
      durationUs,
      format: { codec: "pcm_s16le", rateHz, channels },
      bytes: new Uint8Array(bytes),
    });
  expect(pcm(8_000, 1, 320)).toBeNull();
  expect(pcm(44_100, 2, 3_528)).toBeNull();
  expect(pcm(48_000, 2, 3_840)).toBeNull();
  expect(pcm(16_000, 1, 641)?.field).toBe("bytes");
  expect(pcm(16_000, 2, 640)?.field).toBe("durationUs");
  expect(pcm(96_000, 1, 3_840)?.field).toBe("format.rateHz");
  expect(pcm(16_000, 3, 1_920)?.field).toBe("format.channels");
});
