import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PLAYOUT_QUEUE_MS_MAX, REFUSALS_MAX } from "./limits.ts";
import { control, FORMAT, fence, frame, type Rig, rig } from "./testing/session.ts";

function say(r: Rig, frames: number, options: { turn?: number; generation?: number; end?: boolean } = {}): void {
  for (let s = 1; s <= frames; s++)
    r.adapter.send(frame(s, { ...options, end: (options.end ?? true) && s === frames }));
}

function expectBalance(r: Rig): void {
  const p = r.adapter.stats().playout;
  expect(p.framesPlayed + p.framesFlushed + p.framesQueued).toBe(p.framesTaken);
  expect(p.framesTaken + p.framesRefused).toBe(p.framesReceived);
  expect(p.samplesPlayed + p.samplesFlushed + p.samplesQueued).toBe(p.samplesTaken);
  expect(p.samplesTaken + p.samplesRefused).toBe(p.samplesReceived);
}

describe("delivery", () => {
  test("reports accepted, started, progress every 100 ms and completed in media time", () => {
    const r = rig();
    say(r, 12);
    r.clock.advanceMs(500);
    expect(r.story()).toEqual([
      "0 1.1 accepted 0",
      "0 1.1 started 0",
      "100 1.1 progress 100000",
      "200 1.1 progress 200000",
      "240 1.1 completed 240000",
    ]);
    expect(r.adapter.deliveries()).toMatchObject([{ turn: 1, phase: "completed", playedUs: 240_000 }]);
    expectBalance(r);
  });

  test("progress comes at its instant inside a long frame, also when more is queued meanwhile", () => {
    const r = rig();
    r.adapter.send(frame(1, { samples: new Int16Array(3_200).fill(1) }));
    r.clock.advanceMs(30);
    r.adapter.send(frame(11, { end: true }));
    r.clock.advanceMs(200);
    expect(r.story().slice(2)).toEqual([
      "100 1.1 progress 100000",
      "200 1.1 progress 200000",
      "220 1.1 completed 220000",
    ]);
  });

  test("the start buffer delays the first sample until it is full, or its time has passed", () => {
    const slow = rig({ playoutBufferMs: 60 });
    slow.adapter.send(frame(1));
    slow.clock.advanceMs(100);
    expect(slow.story()).toEqual(["0 1.1 accepted 0", "60 1.1 started 0"]);
    const full = rig({ playoutBufferMs: 60 });
    full.adapter.send(frame(1));
    full.clock.advanceMs(10);
    full.adapter.send(frame(2));
    full.adapter.send(frame(3));
    full.clock.advanceMs(100);
    expect(full.adapter.recording().ranges).toMatchObject([{ startNs: 10e6, endNs: 70e6, fromUs: 0, toUs: 60_000 }]);
  });

  test("an end mark without audio completes the turn, also where it is all there is", () => {
    const r = rig();
    r.adapter.send(frame(1));
    r.adapter.send(frame(2, { samples: new Int16Array(0), end: true }));
    r.adapter.send(frame(1, { turn: 2, samples: new Int16Array(0), end: true }));
    r.clock.advanceMs(50);
    expect(r.story().slice(2)).toEqual([
      "0 1.1 started 0",
      "20 1.1 completed 20000",
      "20 2.1 started 0",
      "20 2.1 completed 0",
    ]);
  });

  test("running dry inside a turn is an underrun, its gap is heard; frames in time leave none", () => {
    const r = rig();
    r.adapter.send(frame(1));
    r.clock.advanceMs(20);
    r.adapter.send(frame(2));
    r.clock.advanceMs(50);
    r.adapter.send(frame(3, { end: true }));
    r.clock.advanceMs(100);
    const { playout } = r.adapter.stats();
    expect([playout.underruns, playout.underrunSamples]).toEqual([1, 480]);
    const { agent, ranges } = r.adapter.recording();
    expect(ranges.map((x) => [x.startSample, x.endSample])).toEqual([
      [0, 640],
      [1120, 1440],
    ]);
    expect(agent.subarray(0, 640).every((v) => v === 1)).toBe(true);
    expect(agent.subarray(640, 1120).every((v) => v === 0)).toBe(true);
    expect(agent.length).toBe(16 * 170);
  });

  test("beyond the bound frames are refused and counted, the end mark never", () => {
    const r = rig();
    const fits = PLAYOUT_QUEUE_MS_MAX / 20;
    for (let s = 1; s <= fits + 5; s++) r.adapter.send(frame(s, { end: s === fits + 5 }));
    expect(r.adapter.stats().refused.overflow).toBe(5);
    expectBalance(r);
    r.clock.advanceMs(PLAYOUT_QUEUE_MS_MAX + 100);
    expect(r.story().at(-1)).toBe("2000 1.1 completed 2000000");
    expectBalance(r);
  });

  test("a repeated sequence, audio after the end mark and a strange format are refused", () => {
    const r = rig();
    r.adapter.send(frame(1));
    r.adapter.send(frame(1));
    r.adapter.send(frame(3, { end: true }));
    r.adapter.send(frame(4));
    r.adapter.send(frame(1, { turn: 2, format: { ...FORMAT, rateHz: 8000 } }));
    expect(r.adapter.stats().refused).toMatchObject({ order: 2, format: 1 });
    expect(r.adapter.stats().playout.gaps).toBe(1);
    expectBalance(r);
  });

  test("the runtime may reuse its bytes after send", () => {
    const r = rig();
    const message = frame(1, { end: true });
    r.adapter.send(message);
    message.bytes.fill(0x7f);
    r.clock.advanceMs(20);
    expect(r.adapter.recording().agent.every((v) => v === 1)).toBe(true);
  });
});

describe("hold", () => {
  test("output_hold pauses in the middle of a frame, output_resume goes on with the very next sample", () => {
    const r = rig();
    const ramp = Int16Array.from({ length: 320 }, (_, i) => i + 1);
    r.adapter.send(frame(1, { samples: ramp, end: true }));
    r.clock.advanceMs(5);
    r.adapter.send(control("output_hold"));
    r.clock.advanceMs(45);
    expect(r.adapter.stats().playout).toMatchObject({ samplesPlayed: 80, underruns: 0, holds: 1 });
    r.adapter.send(control("output_resume"));
    r.clock.advanceMs(50);
    const { agent, ranges } = r.adapter.recording();
    expect(ranges.map((x) => [x.startSample, x.endSample, x.fromUs, x.toUs])).toEqual([
      [0, 80, 0, 5_000],
      [800, 1040, 5_000, 20_000],
    ]);
    expect([...agent.subarray(78, 82), ...agent.subarray(798, 802)]).toEqual([79, 80, 0, 0, 0, 0, 81, 82]);
    expect(r.story().at(-1)).toBe("65 1.1 completed 20000");
  });

  test("a fence lifts the hold of what it cut, and a later turn is not held by an earlier one's hold", () => {
    const r = rig();
    say(r, 5, { end: false });
    r.clock.advanceMs(10);
    r.adapter.send(control("output_hold"));
    r.clock.advanceMs(10);
    r.adapter.send(fence(1, 2));
    say(r, 1, { turn: 2 });
    r.clock.advanceMs(20);
    expect(r.story().slice(2)).toEqual([
      "20 1.2 ack 10000 flushed 4",
      "20 1.1 cancelled 10000",
      "20 2.1 accepted 0",
      "20 2.1 started 0",
      "40 2.1 completed 20000",
    ]);
  });
});

describe("fence", () => {
  test("F-033 F-039 flushes at once and reports what was played to the sample, the partly played frame included", () => {
    const r = rig();
    say(r, 10, { end: false });
    r.clock.advanceTo(53_437_500); // 855 samples
    r.adapter.send(fence(1, 2));
    expect(r.story().slice(-2)).toEqual(["53 1.2 ack 53437 flushed 7", "53 1.1 cancelled 53437"]);
    expect(r.adapter.fences()).toMatchObject([{ playedUs: 53_437, flushed: 7 }]);
    r.clock.advanceMs(200);
    expect(r.adapter.recording().ranges).toMatchObject([{ startSample: 0, endSample: 855, toUs: 53_437 }]);
    expect(
      r.adapter
        .recording()
        .agent.subarray(855)
        .every((v) => v === 0),
    ).toBe(true);
    expect(r.adapter.stats()).toMatchObject({ samplesAfterFence: 0, playout: { framesCut: 1, samplesPlayed: 855 } });
    expectBalance(r);
  });

  test("F-175 what lies below the fence is refused, counted and kept as evidence, never played", () => {
    const r = rig();
    r.adapter.send(fence(2, 3));
    r.adapter.send(frame(1, { turn: 2, generation: 2 }));
    r.adapter.send(frame(1, { turn: 2, generation: 3, end: true }));
    r.adapter.send(frame(1, { turn: 1, end: true }));
    r.clock.advanceMs(100);
    expect(r.adapter.stats().refused.fenced).toBe(1);
    expect(r.adapter.refusals()).toMatchObject([{ reason: "fenced", turn: 2, generation: 2, sequence: 1 }]);
    expect(r.adapter.recording().ranges.map((x) => x.turn)).toEqual([2, 1]);
    expect(r.story()[0]).toBe("0 2.3 ack 0 flushed 0");
    expect(r.story()[1]).toBe("0 2.2 cancelled 0");
  });

  test("with `all` every earlier turn is cut too, later ones play on, a completed one is not settled twice", () => {
    const r = rig();
    say(r, 1, { turn: 1 });
    say(r, 5, { turn: 2, end: false });
    say(r, 5, { turn: 3, end: false });
    say(r, 2, { turn: 4 });
    r.clock.advanceMs(30);
    r.adapter.send(fence(3, 2, { all: true }));
    r.adapter.send(frame(6, { turn: 2 }));
    r.clock.advanceMs(100);
    expect(r.story().slice(6)).toEqual([
      "20 2.1 started 0",
      "30 3.2 ack 0 flushed 9",
      "30 2.1 cancelled 10000",
      "30 3.1 cancelled 0",
      "30 4.1 started 0",
      "70 4.1 completed 40000",
    ]);
    r.adapter.send(fence(4, 2));
    expect(r.story().at(-1)).toBe("130 4.2 ack 40000 flushed 0");
    expect(r.adapter.stats().refused.fenced).toBe(1);
    expectBalance(r);
  });

  test("a fence that comes from inside receive meets devices at rest", () => {
    let send = () => {};
    const r = rig({}, (message) => {
      if (message.kind === "delivery" && message.state === "progress") send();
    });
    send = () => r.adapter.send(fence(1, 2));
    say(r, 20);
    r.clock.advanceMs(500);
    expect(r.story().slice(1)).toEqual([
      "0 1.1 started 0",
      "100 1.1 progress 100000",
      "100 1.2 ack 100000 flushed 15",
      "100 1.1 cancelled 100000",
    ]);
    expect(r.clock.pending()).toBe(1); // the microphone's
  });
});

describe("authority", () => {
  test("F-156 a stale epoch is refused for every kind of message, an ungranted one too", () => {
    const r = rig();
    say(r, 5, { end: false });
    expect(r.adapter.raiseEpoch(3)).toBe(true);
    expect(r.adapter.raiseEpoch(2)).toBe(false);
    r.adapter.send(frame(6));
    r.adapter.send(fence(1, 9));
    r.adapter.send(control("output_hold"));
    r.adapter.send({
      kind: "text",
      epoch: 1,
      turn: 1,
      role: "assistant",
      text: "x",
      final: true,
      segment: 0,
      revision: 0,
    });
    r.adapter.send({ kind: "close", epoch: 2, reason: "old_holder" });
    r.adapter.send(frame(7, { epoch: 4 }));
    expect(r.adapter.stats().refused).toMatchObject({ stale_epoch: 5, ungranted_epoch: 1 });
    expect(r.adapter.refusals().map((x) => [x.kind, x.epoch, x.floor])).toEqual([
      ["media", 1, 3],
      ["fence", 1, 3],
      ["control", 1, 3],
      ["text", 1, 3],
      ["close", 2, 3],
      ["media", 4, 3],
    ]);
    r.adapter.send(frame(6, { epoch: 3, end: true }));
    r.clock.advanceMs(200);
    const last = r.heard.map((h) => h.message).findLast((m) => m.kind === "delivery");
    expect(last).toMatchObject({ state: "completed", playedUs: 120_000, epoch: 3 });
    expectBalance(r);
  });

  test("evidence is bounded, counting goes on", () => {
    const r = rig();
    for (let i = 0; i < REFUSALS_MAX + 10; i++) r.adapter.send(frame(1, { epoch: 0 }));
    expect(r.adapter.refusals().length).toBe(REFUSALS_MAX);
    expect(r.adapter.stats().refused.stale_epoch).toBe(REFUSALS_MAX + 10);
  });
});

type Act =
  | { do: "frame"; turn: number; generation: number; length: number; end: boolean; epoch: number }
  | { do: "fence"; turn: number; generation: number; all: boolean; epoch: number }
  | { do: "hold" | "resume"; turn: number }
  | { do: "wait"; us: number }
  | { do: "lose" | "reconnect" };

const acts: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("frame" as const),
      turn: fc.integer({ min: 1, max: 4 }),
      generation: fc.integer({ min: 0, max: 2 }),
      length: fc.oneof(fc.constant(320), fc.integer({ min: 0, max: 900 })),
      end: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      epoch: fc.integer({ min: 0, max: 9 }).map((n) => (n === 0 ? 0 : 1)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("fence" as const),
      turn: fc.integer({ min: 1, max: 4 }),
      generation: fc.integer({ min: 0, max: 3 }),
      all: fc.boolean(),
      epoch: fc.integer({ min: 0, max: 5 }).map((n) => (n === 0 ? 0 : 1)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom("hold" as const, "resume" as const),
      turn: fc.integer({ min: 0, max: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), us: fc.integer({ min: 0, max: 60_000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("lose" as const, "reconnect" as const) }) },
);

describe("any interleaving", () => {
  test("F-033 F-175 nothing fenced is played after its fence; played + flushed + refused = received; deliveries are legal", () => {
    fc.assert(
      fc.property(fc.array(acts, { maxLength: 120 }), fc.integer({ min: 0, max: 80 }), (list, playoutBufferMs) => {
        const r = rig({ playoutBufferMs });
        const sequences = new Map<string, number>();
        let away = false;
        for (const act of list) {
          if (act.do === "frame") {
            const key = `${act.turn}.${act.generation}`;
            const sequence = (sequences.get(key) ?? 0) + 1;
            sequences.set(key, sequence);
            r.adapter.send(frame(sequence, { ...act, samples: new Int16Array(act.length).fill(act.turn) }));
          } else if (act.do === "fence") r.adapter.send(fence(act.turn, act.generation, act));
          else if (act.do === "wait") r.clock.advanceTo(r.clock.nowNs() + act.us * 1000);
          else if (act.do === "hold") r.adapter.send(control("output_hold", act.turn));
          else if (act.do === "resume") r.adapter.send(control("output_resume"));
          else if (away === (act.do === "reconnect")) {
            if (away) r.adapter.reconnect();
            else r.adapter.lose();
            away = !away;
          }
          expectBalance(r);
        }
        if (away) r.adapter.reconnect();
        r.adapter.send(control("output_resume"));
        r.clock.advanceMs(5_000);
        expect(r.adapter.stats().samplesAfterFence).toBe(0);
        expect(r.adapter.stats().playout.framesQueued).toBe(0);
        expectBalance(r);
        expectTimeline(r);
        expectLegal(r);
      }),
      { numRuns: 200 },
    );
  });
});

/** The recorded timeline is silence but for the ranges, each of which carries its turn's own value. */
function expectTimeline(r: Rig): void {
  const { agent, ranges } = r.adapter.recording();
  const model = new Int16Array(agent.length);
  let end = 0;
  for (const range of ranges) {
    expect(range.startSample).toBeGreaterThanOrEqual(end);
    end = range.endSample;
    model.fill(range.turn, range.startSample, range.endSample);
  }
  expect(Buffer.compare(Buffer.from(agent.buffer), Buffer.from(model.buffer))).toBe(0);
}

function expectLegal(r: Rig): void {
  const phases = new Map<string, string>();
  const legal: Record<string, string[]> = {
    accepted: ["none"],
    started: ["accepted"],
    progress: ["started", "progress"],
    completed: ["started", "progress"],
    cancelled: ["none", "accepted", "started", "progress"],
    lost: [],
  };
  for (const { message } of r.heard) {
    if (message.kind !== "delivery") continue;
    const key = `${message.turn}.${message.generation}`;
    expect(legal[message.state]).toContain(phases.get(key) ?? "none");
    phases.set(key, message.state);
  }
}
