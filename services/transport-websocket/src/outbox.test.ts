import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { limits } from "./limits.ts";
import { Outbox, type OutItem, type OutLane } from "./outbox.ts";

const record = new Uint8Array(1);
const none: OutItem["message"] = { case: undefined };
const item = (lane: OutLane, bytes = 100, turn = 0, generation = 0): OutItem => ({
  lane,
  bytes,
  turn,
  generation,
  message: none,
});

describe("what waits for a client", () => {
  test("signals leave before audio, audio before telemetry, each lane in its order", () => {
    const outbox = new Outbox();
    const all = [item("telemetry"), item("media", 1, 1), item("control", 1), item("media", 1, 2), item("control", 2)];
    for (const one of all) outbox.push(one);
    expect(Array.from({ length: 6 }, () => outbox.shift())).toEqual([
      all[2],
      all[4],
      all[1],
      all[3],
      all[0],
      undefined,
    ]);
  });

  test("audio past its bound is dropped, telemetry loses its oldest, control past its bound is an overflow", () => {
    const outbox = new Outbox();
    const frames = Math.floor(limits.MEDIA_QUEUE_BYTES_MAX / 1_000);
    const results = Array.from({ length: frames + 5 }, () => outbox.push(item("media", 1_000)));
    expect(results.filter((r) => r === "dropped").length).toBe(5);
    for (let i = 0; i < limits.TELEMETRY_QUEUE_ITEMS_MAX + 3; i++) outbox.push(item("telemetry"));
    expect(outbox.telemetryDropped).toBe(3);
    expect(outbox.push(item("control", limits.CONTROL_QUEUE_BYTES_MAX))).toBe("queued");
    expect(outbox.push(item("control", 1))).toBe("overflow");
  });

  test("F-175 a cut takes out what the fence names and nothing else; the byte count stays true", () => {
    const media = fc.record({ turn: fc.nat(4), generation: fc.nat(2), bytes: fc.integer({ min: 1, max: 500 }) });
    fc.assert(
      fc.property(fc.array(media, { maxLength: 40 }), fc.nat(4), fc.nat(2), (frames, turn, generation) => {
        const outbox = new Outbox();
        for (const f of frames) outbox.push(item("media", f.bytes, f.turn, f.generation));
        const fenced = (t: number, g: number): boolean => t < turn || (t === turn && g < generation);
        const keep = frames.filter((f) => !fenced(f.turn, f.generation));
        expect(outbox.cut(fenced)).toBe(frames.length - keep.length);
        expect(outbox.bytes()).toBe(keep.reduce((sum, f) => sum + f.bytes, 0));
        expect(keep.map(() => outbox.shift()?.turn)).toEqual(keep.map((f) => f.turn));
        expect([outbox.size(), outbox.bytes()]).toEqual([0, 0]);
      }),
    );
  });

  test("what is sent again goes first, less what was cut meanwhile; a lost connection forgets it", () => {
    const outbox = new Outbox();
    outbox.pushAgain([
      { sequence: 4, turn: null, generation: 0, record },
      { sequence: 5, turn: 1, generation: 0, record },
      { sequence: 6, turn: 2, generation: 0, record },
    ]);
    outbox.cut((turn) => turn === 1);
    expect(outbox.shiftAgain()?.sequence).toBe(4);
    expect(outbox.shiftAgain()?.sequence).toBe(6);
    outbox.pushAgain([{ sequence: 7, turn: null, generation: 0, record }]);
    outbox.disconnected();
    expect(outbox.size()).toBe(0);
  });
});
