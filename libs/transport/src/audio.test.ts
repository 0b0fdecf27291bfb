import { createResampler } from "@rspp/audio/resample";
import type { AudioFormat } from "@rspp/ports/provider";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { createCallerAudio } from "./audio-in.ts";
import { createAgentAudio, type Media } from "./audio-out.ts";
import { createDeliveries, takePlayed } from "./deliveries.ts";
import { formatFromWire } from "./formats.ts";
import { limits } from "./limits.ts";

const pcm = (rateHz: number): AudioFormat => ({ codec: "pcm_s16le", rateHz, channels: 1 });
// The module is loaded once: afterwards a resampler is there in the next turn.
beforeAll(async () => (await createResampler({ inRateHz: 8_000, outRateHz: 16_000 })).close());

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function mediaOf(sequence: number, rateHz: number, samples: number, end: boolean, turn = 1): Media {
  const bytes = new Uint8Array(new Int16Array(samples).fill(sequence * 10).buffer);
  const durationUs = Math.round((samples / rateHz) * 1e6);
  const place = { turn, generation: 0, sequence, offsetUs: (sequence - 1) * durationUs, durationUs };
  return { kind: "media", epoch: 1, ...place, format: pcm(rateHz), bytes, end };
}

describe("the agent's audio for a client", () => {
  test("F-090 from any rate to any other: no sample lost or made, media time without holes, the end told once", async () => {
    const rates = fc.constantFrom(8_000, 16_000, 22_050, 24_000, 48_000);
    await fc.assert(
      fc.asyncProperty(rates, rates, fc.integer({ min: 1, max: 12 }), async (from, to, frames) => {
        const out: Media[] = [];
        const audio = createAgentAudio(pcm(to), (media) => void out.push(media));
        const samples = from / 50;
        for (let turn = 1; turn <= 2; turn++)
          for (let i = 1; i <= frames; i++) audio.push(mediaOf(i, from, samples, i === frames, turn));
        for (let i = 0; i < 50 && out.filter((m) => m.end).length < 2; i++) await settle();
        for (const turn of [1, 2]) {
          const own = out.filter((m) => m.turn === turn);
          const total = own.reduce((sum, m) => sum + m.bytes.byteLength / 2, 0);
          expect(Math.abs(total - (frames * samples * to) / from)).toBeLessThanOrEqual(1);
          expect(own.map((m) => m.end)).toEqual(own.map((_, i) => i === own.length - 1));
          for (const [i, m] of own.entries())
            expect(m.offsetUs).toBe(i === 0 ? 0 : own[i - 1]!.offsetUs + own[i - 1]!.durationUs);
        }
        audio.close();
      }),
      { numRuns: 30 },
    );
  });

  test("what passes as it is, passes whole, as it is while it is handed on; a Buffer, too", () => {
    const out: number[] = [];
    const audio = createAgentAudio(pcm(16_000), ({ bytes }) => void out.push(...bytes));
    audio.push({ ...mediaOf(1, 16_000, 320, false), bytes: Buffer.alloc(640, 7) });
    expect(out).toEqual(Array.from({ length: 640 }, () => 7));
  });

  test("what waits for a resampler is bounded", () => {
    const audio = createAgentAudio(pcm(8_000), () => {});
    const pushed = Array.from({ length: limits.CONVERT_PENDING_MAX + 3 }, (_, i) =>
      audio.push(mediaOf(i + 1, 16_000, 320, false)),
    );
    expect(pushed.filter((taken) => !taken).length).toBe(3);
    audio.close();
  });
});

describe("the caller's audio for the runtime", () => {
  test("F-090 whole frames of 20 ms; the tail comes with a flush, so that no word is clipped", async () => {
    const audio = await createCallerAudio({ codec: "pcm_s16le", rateHz: 16_000, channels: 2 });
    expect(audio.push(new Uint8Array(1_000))).toHaveLength(0);
    expect(audio.push(new Uint8Array(1_000))).toHaveLength(1);
    expect(audio.flush()).toHaveLength(1);
    expect(audio.flush()).toHaveLength(0);
    const slow = await createCallerAudio({ codec: "mulaw", rateHz: 8_000, channels: 1 });
    // Each frame goes on at once; what the filter still holds of the last one, 4 ms, comes with the flush.
    expect([0, 1, 2].map(() => slow.push(new Uint8Array(160))?.length)).toEqual([1, 1, 1]);
    expect(slow.flush()).toHaveLength(1);
  });

  test("a damaged Opus packet is none, and the next one is taken", async () => {
    const audio = await createCallerAudio({ codec: "opus", rateHz: 16_000, channels: 1 });
    expect(audio.push(new Uint8Array([255, 255, 255]))).toBeNull();
  });
});

describe("what a client may speak and say it played", () => {
  test.each([
    [undefined, "f.codec"],
    [{ codec: 1, sampleRateHz: 96_000, channels: 1 }, "f.sample_rate_hz"],
    [{ codec: 4, sampleRateHz: 44_100, channels: 1 }, "f.sample_rate_hz"],
    [{ codec: 1, sampleRateHz: 16_000, channels: 3 }, "f.channels"],
  ])("%j is refused at its field", (wire, field) => {
    const format = formatFromWire(wire as never, "f", 2);
    expect(format.ok ? "" : format.error.violations?.[0]?.field).toBe(field);
  });

  test("F-039 reports never exceed what was sent, never go back, and settle once", () => {
    const states = fc.constantFrom("accepted", "playing", "completed", "cancelled", "lost");
    fc.assert(
      fc.property(fc.array(fc.tuple(states, fc.nat(150))), fc.boolean(), (reports, ended) => {
        const delivery = createDeliveries().open(1, 0);
        if (delivery === undefined) throw new Error("there is room");
        Object.assign(delivery, { sentUs: 100, ended });
        const told: string[] = [];
        let last = 0;
        for (const [state, playedUs] of reports) {
          const verdict = takePlayed(delivery, state as "playing", playedUs);
          if (verdict.ok) told.push(...verdict.states);
          expect(delivery.playedUs).toBeGreaterThanOrEqual(last);
          expect(delivery.playedUs).toBeLessThanOrEqual(100);
          last = delivery.playedUs;
        }
        expect(told.filter((t) => t === "started").length).toBeLessThanOrEqual(1);
        const settled = told.findIndex((t) => t === "completed" || t === "lost");
        if (settled >= 0) expect(settled).toBe(told.length - 1);
        if (!ended) expect(told).not.toContain("completed");
      }),
    );
  });

  test("deliveries are bounded; an unsettled one is never forgotten", () => {
    const deliveries = createDeliveries();
    for (let turn = 1; turn <= limits.DELIVERIES_MAX; turn++) deliveries.open(turn, 0);
    expect(deliveries.open(9_999, 0)).toBeUndefined();
    const second = deliveries.find(2, 0);
    if (second !== undefined) second.phase = "completed";
    expect(deliveries.open(9_999, 0)).toBeDefined();
    expect([deliveries.find(2, 0), deliveries.size()]).toEqual([undefined, limits.DELIVERIES_MAX]);
  });
});
