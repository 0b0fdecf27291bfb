import { describe, expect, test } from "vitest";
import type { BufferSpec } from "./graph.ts";
import { checkReplay } from "./testing/checked-replay.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";

/** Frames of the reply, and its end mark. */
const ALL = 100;
/** What may still be told of a turn that has its terminal (`kernel.md` §2). */
const AFTER = /^(close|output_accepted|playback_\w+)#1/;

function told(buffer: Partial<BufferSpec>, behaviours?: readonly number[]): KernelHarness {
  const graph = assistantGraph();
  const edges = graph.edges.map((edge) =>
    edge.id === "e9" ? { ...edge, buffer: { ...edge.buffer, ...buffer } } : edge,
  );
  const over = behaviours === undefined ? {} : { behaviours };
  const h = new KernelHarness(testConfig({ ...graph, edges }, { policy: { ...POLICY, bargeIn: false }, ...over }));
  h.connect();
  h.utter("tell me a story");
  h.reply("Once upon a time there was a fox.", 60);
  h.deliver(1, "accepted", 0);
  h.deliver(1, "started", 0);
  h.advance(8_000);
  return h;
}

function shape(h: KernelHarness): { after: string[]; shedBefore: string[]; media: number[]; last: unknown } {
  const signals = h.signals();
  const commit = signals.indexOf("commit#1");
  const media = h.log.flatMap(({ effect }) => (effect.type === "egress_media" ? [effect.sequence] : []));
  const last = h.log.flatMap(({ effect }) =>
    effect.type === "signal" && effect.event.signal === "commit" ? [effect.event.fields.lastDataSequence] : [],
  );
  return {
    after: signals.slice(commit + 1).filter((signal) => signal.includes("#1") && !AFTER.test(signal)),
    shedBefore: signals.slice(0, commit).filter((signal) => signal === "drop_notice#1(max_block_ms)"),
    media,
    last: last[0],
  };
}

const slow = { strategy: "block", maxItems: 60, maxBlockMs: 100 } as const;
const held = { high: 0.8, low: 0.4, action: "block" } as const;
const cases: readonly (readonly [string, Partial<BufferSpec>])[] = [
  ["F-145 credit", { strategy: "block", flow: "credit", credits: 8, maxItems: 200, maxBlockMs: 100 }],
  ["F-145 hybrid", { strategy: "block", flow: "hybrid", credits: 8, maxItems: 200, maxBlockMs: 100 }],
  ["F-144 a watermark", { strategy: "block", maxItems: 70, maxBlockMs: 100, watermark: held }],
  ["F-043 bounds alone", slow],
];

describe("a turn commits once the end of its audio is admitted to the output's edge", () => {
  test.each(cases)(
    "%s: what blocks for too long is shed before the commit, and the commit does not count it",
    (_, buffer) => {
      const h = told(buffer);
      const { after, shedBefore, media, last } = shape(h);
      expect(shedBefore.length).toBeGreaterThan(0);
      expect(after).toEqual([]);
      expect(media.length).toBeGreaterThan(1);
      expect(media.length).toBeLessThan(ALL);
      expect(media).toEqual(media.map((_, at) => at + 1));
      expect(last).toBe(media.at(-1));
      checkReplay(h);
    },
  );

  test.each(cases)("%s: what only waits is heard to its end, and the commit names its last sequence", (_, buffer) => {
    const h = told({ ...buffer, maxBlockMs: 10_000 });
    const { after, shedBefore, media, last } = shape(h);
    expect([after, shedBefore]).toEqual([[], []]);
    expect(media).toEqual(Array.from({ length: ALL }, (_, at) => at + 1));
    expect(last).toBe(ALL);
    checkReplay(h);
  });

  test("F-043 audio that a full edge drops at once leaves no hole in the sequences", () => {
    const h = told({ strategy: "drop_newest", maxItems: 10 });
    const { after, media, last } = shape(h);
    expect(after).toEqual([]);
    expect(media.length).toBeLessThan(ALL);
    expect(media).toEqual(media.map((_, at) => at + 1));
    expect(last).toBe(media.at(-1));
  });

  test("NF-009 a session without the behaviour commits at the offer, as it was recorded", () => {
    const h = told(slow, [1, 2]);
    expect(shape(h).shedBefore).toEqual([]);
    expect(shape(h).after).toContain("drop_notice#1(max_block_ms)");
    expect(shape(h).last).toBe(ALL);
    checkReplay(h);
  });
});
