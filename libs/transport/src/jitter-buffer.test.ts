import fc from "fast-check";
import { expect, test } from "vitest";
import { JitterBuffer } from "./jitter-buffer.ts";
import { HandClock } from "./testing/hand-clock.ts";

const WAIT_MS = 60;

function rig(waitMs = WAIT_MS) {
  const clock = new HandClock();
  const played: { first: number; ms: number; lost: boolean }[] = [];
  let skippedMs = 0;
  const buffer = new JitterBuffer({
    clock,
    waitMs,
    silence: 0xff,
    bytesPerMs: 8,
    fade: (last) => last,
    play: (bytes, lost) => played.push({ first: bytes[0] ?? -1, ms: bytes.length / 8, lost }),
    skip: (ms) => {
      skippedMs += ms;
    },
  });
  /** Packet `n` holds its own number, 20 ms long. */
  const push = (n: number): void =>
    buffer.push({ sequence: n, timestampMs: (n - 1) * 20, bytes: new Uint8Array(160).fill(n & 0x7f) });
  const heardMs = () => played.reduce((sum, { ms }) => sum + ms, 0);
  return { clock, buffer, played, push, heardMs, skippedMs: () => skippedMs };
}

test("F-087 what comes out of turn is put into its order, and nothing waits that need not", () => {
  const { buffer, played, push } = rig();
  for (const n of [1, 2, 4, 3, 6, 5, 7]) push(n);
  expect(played.map(({ first }) => first)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(buffer.counts).toMatchObject({ reordered: 2, late: 0, lost: 0, concealedMs: 0 });
  push(3);
  expect([played.length, buffer.counts.late]).toEqual([7, 1]);
});

test("F-087 a packet that does not come is made up for within the bound, and media time goes on", () => {
  const { clock, buffer, played, push, heardMs } = rig();
  push(1);
  push(3);
  clock.pass(WAIT_MS - 1);
  expect(played).toHaveLength(1);
  clock.pass(1);
  expect(played.map(({ first, lost }) => [first, lost])).toEqual([
    [1, false],
    [1, true],
    [3, false],
  ]);
  expect(heardMs()).toBe(60);
  expect(buffer.counts).toMatchObject({ lost: 1, concealedMs: 20, waitedMsMax: WAIT_MS });
  // Too late: its place is taken.
  push(2);
  expect(played).toHaveLength(3);
});

test("a long hole ends in silence, and what is longer still is stepped over", () => {
  const { clock, played, push, heardMs, skippedMs } = rig();
  push(1);
  push(52);
  clock.pass(WAIT_MS);
  const made = played.filter(({ lost }) => lost);
  expect(made.map(({ first }) => first)).toEqual([1, 1, 1, ...Array(22).fill(0xff)]);
  expect([heardMs(), skippedMs()]).toEqual([20 + 500 + 20, 500]);
});

test("F-087 with 5 % lost and 200 ms of jitter every millisecond is heard once, in order, none later than the bound", () => {
  const delays = fc.array(fc.record({ lost: fc.nat(19), jitterMs: fc.nat(200) }), { minLength: 50, maxLength: 150 });
  fc.assert(
    fc.property(delays, (packets) => {
      const { clock, buffer, played, push, heardMs, skippedMs } = rig(250);
      const arrivals = packets
        .map(({ lost, jitterMs }, i) => ({
          n: i + 1,
          lost: lost === 0 && i > 0,
          atMs: i * 20 + (i === 0 ? 0 : jitterMs),
        }))
        .filter(({ lost }) => !lost)
        .sort((a, b) => a.atMs - b.atMs);
      let nowMs = 0;
      for (const { n, atMs } of arrivals) {
        clock.pass(atMs - nowMs);
        nowMs = atMs;
        push(n);
      }
      clock.pass(300);
      const real = played.filter(({ lost }) => !lost).map(({ first }) => first);
      expect(real).toEqual([...arrivals].sort((a, b) => a.n - b.n).map(({ n }) => n & 0x7f));
      const last = Math.max(...arrivals.map(({ n }) => n));
      expect(heardMs() + skippedMs()).toBe(last * 20);
      expect(buffer.counts.late).toBe(0);
      expect(buffer.counts.waitedMsMax).toBeLessThanOrEqual(251);
      expect(buffer.waiting()).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test("what waits is bounded, and a flush leaves nothing behind", () => {
  const { clock, buffer, push } = rig(10_000);
  push(1);
  for (let n = 3; n < 200; n++) push(n);
  expect(buffer.waiting()).toBeLessThanOrEqual(64);
  push(300);
  buffer.flush();
  expect([buffer.waiting(), clock.pending()]).toEqual([0, 0]);
});
