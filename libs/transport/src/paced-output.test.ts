import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Media } from "./audio-out.ts";
import { limits } from "./limits.ts";
import { PacedOutput } from "./paced-output.ts";
import { HandClock } from "./testing/hand-clock.ts";
import { mediaOf } from "./testing/media.ts";

function rig(leadMs = 200) {
  const clock = new HandClock();
  const given: Media[] = [];
  const output = new PacedOutput({ clock, leadMs, play: (media) => given.push(media) });
  const push = (turn: number, count: number) => mediaOf(turn, count).map((media) => output.push(media));
  return { clock, given, output, push };
}

describe("the agent's audio before a loudspeaker", () => {
  test("F-087 it is given the lead at once, then a frame for each that it has played", () => {
    const { clock, given, output, push } = rig();
    push(1, 50);
    expect([given.length, output.waiting()]).toEqual([10, 40]);
    clock.pass(100);
    expect([given.length, output.leadMs()]).toEqual([15, 200]);
    clock.pass(1_000);
    expect([given.length, output.waiting(), clock.pending()]).toEqual([50, 0, 0]);
  });

  test("F-033 a cut takes what waits; an emptied loudspeaker is given the next turn at once", () => {
    const { clock, given, output, push } = rig();
    push(1, 50);
    expect(output.cut((turn) => turn === 1)).toBe(40);
    output.emptied();
    expect(output.leadMs()).toBe(0);
    push(2, 20);
    expect(given.filter(({ turn }) => turn === 2)).toHaveLength(10);
    clock.pass(5_000);
    expect(given.map(({ turn }) => turn)).toEqual([...Array(10).fill(1), ...Array(20).fill(2)]);
  });

  test("F-033 a hold ends with the turn that it waits for: the next turn is heard though nobody says resume", () => {
    const { clock, given, output, push } = rig();
    push(1, 50);
    output.hold(1);
    expect(output.cut((turn, generation) => turn === 1 && generation < 1)).toBe(40);
    output.emptied();
    push(2, 20);
    clock.pass(5_000);
    expect(given.filter(({ turn }) => turn === 2)).toHaveLength(20);
  });

  test("a hold of a turn lets a later one through, and ends with resume; no loudspeaker is no one's hold", () => {
    const { clock, given, output, push } = rig();
    output.hold(1);
    push(2, 5);
    clock.pass(1_000);
    expect(given).toHaveLength(5);
    output.stop();
    push(3, 5);
    output.cut((turn) => turn === 1);
    output.resume();
    clock.pass(1_000);
    expect(given).toHaveLength(5);
    output.restart();
    clock.pass(1_000);
    expect(given).toHaveLength(10);
  });

  test("nothing follows while it is held, and it goes on where it stood", () => {
    const { clock, given, output, push } = rig();
    push(1, 30);
    output.hold(1);
    clock.pass(2_000);
    expect(given).toHaveLength(10);
    output.resume();
    expect(given).toHaveLength(20);
    clock.pass(2_000);
    expect(given.map(({ sequence }) => sequence)).toEqual(given.map((_, i) => i + 1));
  });

  test("F-087 the lead is never exceeded, however frames come", () => {
    const step = fc.record({ count: fc.integer({ min: 0, max: 40 }), passMs: fc.integer({ min: 0, max: 400 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const { clock, output, push } = rig(100);
        for (const [i, { count, passMs }] of steps.entries()) {
          push(i + 1, count);
          expect(output.leadMs()).toBeLessThanOrEqual(100);
          clock.pass(passMs);
        }
      }),
    );
  });

  test("what waits is bounded", () => {
    const { output, push } = rig();
    expect(push(1, limits.PLAYOUT_FRAMES_MAX + 20).filter((taken) => !taken)).toHaveLength(10);
    output.close();
    expect(output.waiting()).toBe(0);
  });
});
