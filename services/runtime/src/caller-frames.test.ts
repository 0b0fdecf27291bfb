import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CallerFrames } from "./caller-frames.ts";
import { limits } from "./limits.ts";

const commands = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant("push" as const), size: fc.constantFrom(640, 640, 640, 3, 5_000) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("free" as const), back: fc.nat(12) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("below" as const), back: fc.nat(12) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("ended" as const), back: fc.nat(12) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const) }) },
  ),
  { maxLength: 120 },
);

describe("the caller's latest frames", () => {
  test("they are there, as they came, until they are freed, as a plain map says", () => {
    fc.assert(
      fc.property(commands, (all) => {
        const frames = new CallerFrames();
        const naive = new Map<number, { bytes: Uint8Array; endUs: number; stampNs: number }>();
        let ref = 0;
        for (const [i, command] of all.entries()) {
          if (command.do === "push") {
            // Refs rise, but other payloads take some of them.
            ref += 1 + (i % 3);
            const bytes = new Uint8Array(command.size).fill(i);
            frames.push(ref, bytes, ref * 20_000, i);
            naive.set(ref, { bytes: bytes.slice(), endUs: ref * 20_000, stampNs: i });
            // What was pushed is the caller's again.
            bytes.fill(255);
          } else if (command.do === "free") {
            expect(frames.free(ref - command.back)).toBe(naive.delete(ref - command.back));
          } else if (command.do === "below") {
            frames.freeBelow(ref - command.back);
            for (const known of [...naive.keys()]) if (known < ref - command.back) naive.delete(known);
          } else if (command.do === "ended") {
            frames.freeEnded((ref - command.back) * 20_000);
            for (const [known, { endUs }] of [...naive]) if (endUs < (ref - command.back) * 20_000) naive.delete(known);
          } else {
            frames.clear();
            naive.clear();
          }
          let bytes = 0;
          for (let at = Math.max(0, ref - 40); at <= ref + 1; at++) {
            const known = naive.get(at);
            expect(frames.audio(at)).toEqual(known?.bytes ?? null);
            expect(frames.stampOf(at)).toBe(known?.stampNs ?? 0);
          }
          for (const known of naive.values()) bytes += known.bytes.length;
          expect([frames.items, frames.bytes]).toEqual([naive.size, bytes]);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("the oldest goes where too many are there", () => {
    const frames = new CallerFrames();
    for (let ref = 1; ref <= limits.CALLER_AUDIO_ITEMS_MAX + 2; ref++) frames.push(ref, new Uint8Array(2), ref, 0);
    expect([frames.items, frames.audio(2), frames.audio(3)?.length]).toEqual([limits.CALLER_AUDIO_ITEMS_MAX, null, 2]);
  });
});
