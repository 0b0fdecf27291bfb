import { describe, expect, test } from "vitest";
import type { GraphDefinition, Settings } from "./graph.ts";
import { replayJournal } from "./replay.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { records } from "./testing/scenes.ts";

/** Twenty-millisecond frames of one caller: how loud each is. */
const AUDIO = [
  ...new Array<number>(8).fill(0.9),
  ...new Array<number>(10).fill(0.1),
  ...new Array<number>(8).fill(0.4),
  ...new Array<number>(30).fill(0),
];

interface Heard {
  h: KernelHarness;
  /** Media time at which each utterance ended, milliseconds. */
  ends: number[];
}

/** The same audio under a detector (by its threshold) and settings of endpointing; `releaseAt`: frame of an explicit end. */
function hear(threshold: number, endpointing: Settings, releaseAt = -1): Heard {
  const h = new KernelHarness(testConfig(assistantGraph({ endpointing }), { policy: { ...POLICY, bargeIn: false } }));
  h.connect();
  const ends: number[] = [];
  AUDIO.forEach((loudness, at) => {
    const before = h.state.prelude.closing.length;
    h.hear(loudness >= threshold);
    const control = { controlClass: "positioned", lastMediaSequence: h.audioSequence } as const;
    if (at === releaseAt) h.feed(h.control("end_of_utterance", control));
    if (h.state.prelude.closing.length === before) return;
    ends.push((at + 1) * 20);
    const stt = h.state.prelude.closing.at(-1)?.invocation ?? 0;
    h.feed(h.textChunk(stt, `part ${ends.length}`), h.outcome(stt));
  });
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true });
  return { h, ends };
}

const downstream = ({ nodes, edges }: GraphDefinition) => ({
  nodes: nodes.filter(({ scope }) => scope === "turn"),
  edges: edges.filter(({ from }) => from.node !== "caller" && from.node !== "vad"),
});

const bindings = ({ h }: Heard) =>
  records(h, "plan").map((record) => (record.kind === "plan" ? (record.plan as { bindings: unknown }).bindings : null));

describe("F-017 turn detection is a node like others", () => {
  const plain = hear(0.3, {});

  test("F-017 another detector, other pauses or push to talk move the boundaries, and nothing after them", () => {
    const deaf = hear(0.6, {});
    const patient = hear(0.3, { endpoint_silence_ms: 400 });
    const talk = hear(0.3, { mode: "push_to_talk", silence_ends: false }, 40);
    expect(plain.ends).toEqual([260, 620]);
    expect(deaf.ends).toEqual([260]);
    expect(patient.ends).toEqual([920]);
    expect(talk.ends).toEqual([820]);
    for (const other of [deaf, patient, talk]) {
      expect(downstream(other.h.config.graph)).toEqual(downstream(plain.h.config.graph));
      expect(other.h.signals("turn_open#1")).toHaveLength(1);
      expect(bindings(other)[0]).toEqual(bindings(plain)[0]);
    }
  });

  test("F-042 push to talk: where silence ends nothing, a pause neither ends nor discards what is being said", () => {
    const endless = hear(0.3, { mode: "push_to_talk", silence_ends: false });
    expect(endless.ends).toEqual([]);
    expect(endless.h.state.prelude.utterance.phase).toBe("confirmed");
    // As before where it does, and where the mode is another.
    expect(hear(0.3, { mode: "push_to_talk" }).ends).toEqual(plain.ends);
    expect(hear(0.3, { mode: "vad", silence_ends: false }).ends).toEqual(plain.ends);
    const short = hear(0.3, { mode: "push_to_talk", silence_ends: false, min_speech_ms: 2_000 }, 40);
    expect(short.ends).toEqual([820]);
    const long = hear(0.3, { mode: "push_to_talk", silence_ends: false, max_utterance_ms: 600 });
    expect(long.ends.length).toBeGreaterThan(0);
  });
});
