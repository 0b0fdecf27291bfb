import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { replayJournal } from "./replay.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { addendum, asked, cancel, conversation, lastMessages, records } from "./testing/scenes.ts";
import { randomOf } from "./testing/world.ts";

const FRAME_US = 20_000;
const VOCABULARY = "once upon a time there was a fox who lived in the dark wood and sang all night".split(" ");

interface SpokenWord {
  text: string;
  /** When its last sample has played, media time of the turn. */
  endUs: number;
}

/** Speaks `frames` frames of a reply with word timings of its own making; knows when each word ends. */
class Speaker {
  readonly words: SpokenWord[] = [];
  private at = 0;
  private readonly h: KernelHarness;
  private readonly r: ReturnType<typeof randomOf>;

  constructor(h: KernelHarness, r: ReturnType<typeof randomOf>) {
    this.h = h;
    this.r = r;
  }

  /** Given `cut`, stops within the last clause after at most that many frames. */
  speak(cut: number): Effect[] {
    const tts = this.h.open("tts");
    const clauses = [...(this.h.state.invocations[tts]?.clauses ?? [])];
    const effects: Effect[] = [];
    for (const [n, clause] of clauses.entries()) {
      const text = this.h.text(clause.spans);
      let us = 0;
      const marks = [...text.matchAll(/\S+/g)].map((m) => {
        us += this.r.int(3) * 10_000;
        const startUs = us;
        us += 30_000 + this.r.int(200_000);
        this.words.push({ text: m[0], endUs: this.at + us });
        return { from: m.index, to: m.index + m[0].length, startUs, endUs: us };
      });
      const frames = Math.ceil(us / FRAME_US);
      const limit = n === clauses.length - 1 ? Math.min(frames, cut) : frames;
      for (let i = 0; i < limit; i++)
        effects.push(
          ...this.h.feed(
            this.h.audioChunk(tts, clause.segment, text.length, {
              segmentEnd: i === frames - 1,
              ...(i === 0 ? { words: marks } : {}),
            }),
          ),
        );
      this.at += frames * FRAME_US;
    }
    return effects;
  }

  heard(playedUs: number): string {
    return this.words
      .filter((word) => word.endUs <= playedUs)
      .map((word) => word.text)
      .join(" ");
  }
}

function replyText(r: ReturnType<typeof randomOf>): string {
  const clauses: string[] = [];
  for (let c = 0; c <= 1 + r.int(3); c++) {
    const words: string[] = [];
    for (let w = 0; w < 4 + r.int(6); w++) words.push(VOCABULARY[r.int(VOCABULARY.length)] ?? "fox");
    clauses.push(`${words.join(" ")}.`);
  }
  return `${clauses.join(" ")} `;
}

const media = (effects: readonly Effect[]) => effects.filter((effect) => effect.type === "egress_media");
const sentUs = (h: KernelHarness) =>
  h.log.reduce((us, { effect }) => us + (effect.type === "egress_media" ? effect.durationUs : 0), 0);

/** Speech until the kernel raises the fence; then all that was told and sent in that very step and after. */
function bargeIn(h: KernelHarness): { cut: Effect[]; playedAtCutUs: number } {
  for (let i = 0; i < 12; i++) {
    const effects = h.hear(true);
    const fence = effects.findIndex((effect) => effect.type === "egress_fence");
    if (fence !== -1) return { cut: effects.slice(fence), playedAtCutUs: sentUs(h) };
  }
  throw new Error("no fence after 240 ms of speech");
}

function run(seed: number, commit: boolean): void {
  const r = randomOf(seed);
  const h = asked({ holdOnCandidate: r.chance(0.5) });
  const speaker = new Speaker(h, r);
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, replyText(r)));
  if (commit) h.feed(h.outcome(llm));
  speaker.speak(commit ? Number.MAX_SAFE_INTEGER : 1 + r.int(40));
  if (commit) h.feed(h.outcome(h.open("tts")));
  h.deliver(1, "accepted", 0);
  if (r.chance(0.8)) h.deliver(1, "started", 0);
  h.advance(r.int(2_500));
  // A cut after everything has been played and reported is none.
  const { cut } = bargeIn(h);
  expect(media(cut)).toEqual([]);
  expect(h.signals(commit ? "playback_cancelled" : "abort")).toEqual([
    commit ? "playback_cancelled#1(barge_in)" : "abort#1(cancelled)",
  ]);
  expect(h.signals("commit")).toEqual(commit ? ["commit#1"] : []);
  const fenced = h.log.length;
  const playedUs = r.int(sentUs(h) + 1);
  if (r.chance(0.3)) h.deliver(1, "accepted", 0);
  if (r.chance(0.3)) h.deliver(1, "started", Math.min(playedUs, 1_000));
  if (r.chance(0.3)) h.deliver(1, "progress", Math.floor(playedUs / 2));
  if (r.chance(0.3)) h.feed(cancel(1, "again"));
  if (r.chance(0.5)) h.deliver(1, "cancelled", playedUs);
  h.fenceAck(1, playedUs);
  const late = h.log.slice(fenced).map(({ effect }) => effect);
  expect(
    late.filter(
      (effect) => effect.type === "signal" && ["output_accepted", "playback_started"].includes(effect.event.signal),
    ),
  ).toEqual([]);
  expect(late.filter((effect) => effect.type === "egress_fence")).toEqual([]);
  expect(addendum(h, 1)).toMatchObject({
    playedUs,
    cancelReason: "barge_in",
    heardBy: playedUs === 0 ? "none" : "word_timings",
  });
  expect(addendum(h, 1).cancelFenceAppliedNs).not.toBeNull();
  const heard = speaker.heard(playedUs);
  const expected = ["user: tell me a story", ...(heard === "" ? [] : [`assistant: ${heard}`])];
  expect(conversation(h)).toEqual(expected);
  // The caller's own turn opens at its own endpoint and knows only of what was heard.
  h.hear(false, 6);
  const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt" && inv.finished)?.id ?? 0;
  h.feed(h.textChunk(stt, "wait"), h.outcome(stt));
  expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
  expect(lastMessages(h)).toEqual([...expected, "user: wait"]);
  expect(media(h.log.slice(fenced).map(({ effect }) => effect))).toEqual([]);
  expect(replayJournal(h.config, h.journal).divergences).toEqual([]);
}

describe("F-033 F-039 F-175 barge-in: fence in the same step, nothing after it, heard text to the word", () => {
  test("200 into Active turns (T7)", () => {
    for (let seed = 1; seed <= 200; seed++) {
      try {
        run(seed, false);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`);
      }
    }
  });

  test("200 into committed turns that still play (T13)", () => {
    for (let seed = 1_001; seed <= 1_200; seed++) {
      try {
        run(seed, true);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`);
      }
    }
  });
});

describe("F-039 what the next turn knows", () => {
  test("a cut reply whose acknowledgement is still out counts as far as it was reported, and stands before the new words", () => {
    const h = asked({ secondProposal: "preempt" });
    h.reply("Once upon a time there was a fox. It lived in a wood.", 40);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(400);
    h.deliver(1, "progress", 380_000);
    h.utter("stop that");
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
    expect(lastMessages(h)).toEqual(["user: tell me a story", "assistant: Once upon", "user: stop that"]);
    // The acknowledgement comes late, with more: the conversation keeps its order.
    h.fenceAck(1, 480_000);
    expect(conversation(h)).toEqual(["user: tell me a story", "assistant: Once upon a", "user: stop that"]);
  });

  test("a fence that is never acknowledged: settled by the timer, with what was reported", () => {
    const h = asked();
    h.reply("Once upon a time there was a fox.", 40);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(400);
    h.deliver(1, "progress", 380_000);
    h.feed(cancel(1));
    h.deliver(1, "cancelled", 380_000);
    expect(records(h, "delivery_addendum")).toEqual([]);
    h.advance(6_000);
    expect(addendum(h, 1)).toMatchObject({ outcome: "cancelled", cancelFenceAppliedNs: null, playedUs: 380_000 });
    expect(conversation(h).at(-1)).toBe("assistant: Once upon");
    expect(h.signals("playback_")).toEqual(["playback_started#1", "playback_cancelled#1(operator)"]);
  });

  test("without word timings the estimate ends at a word and is marked", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time there was a fox."), h.outcome(llm));
    for (let i = 0; i < 10; i++) h.feed(h.audioChunk(h.open("tts"), 0, 33, { segmentEnd: i === 9 }));
    h.feed(h.outcome(h.open("tts")));
    h.feed(cancel(1));
    h.fenceAck(1, 100_000);
    expect(addendum(h, 1)).toMatchObject({ heardBy: "proportional" });
    expect(conversation(h).at(-1)).toBe("assistant: Once upon a time");
  });

  test("a clause without any sound does not hide the words after it", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time. And then some more came. "), h.outcome(llm));
    const clauses = h.state.invocations[h.open("tts")]?.clauses ?? [];
    const last = clauses.at(-1)?.segment ?? 0;
    expect(last).toBeGreaterThan(0);
    h.feed(h.audioChunk(h.open("tts"), last, 25, { segmentEnd: true }), h.outcome(h.open("tts")));
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(100);
    h.deliver(1, "completed", 19_999);
    expect(conversation(h).at(-1)).toBe("assistant: Once upon a time. And then some more came.");
  });

  test("an adapter cannot have played more than was sent, nor complete what has no end yet", () => {
    const h = asked();
    const llm = h.open("llm");
    h.feed(h.textChunk(llm, "Once upon a time there was a fox. And so on, "));
    for (let i = 0; i < 5; i++) h.feed(h.audioChunk(h.open("tts"), 0, 34));
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.deliver(1, "progress", 60_000_000);
    h.deliver(1, "completed", 60_000_000);
    expect(h.state.turns[0]?.delivery).toEqual({ phase: "playing", playedUs: 100_000 });
  });

  test("a held output is let go when the candidate never becomes anything", () => {
    const h = asked();
    h.reply("Once upon a time there was a fox.", 40);
    h.deliver(1, "accepted", 0);
    h.hear(true, 2);
    expect(h.signals("output_hold")).toEqual(["output_hold#1(speech_candidate)"]);
    h.advance(1_600);
    expect(h.signals("output_resume")).toEqual(["output_resume#1(hold_deadline)"]);
  });
});

describe("output_hold (§2)", () => {
  const held = (): KernelHarness => {
    const h = asked();
    h.feed(h.textChunk(h.open("llm"), "Once upon a time there was a fox. "), h.outcome(h.open("llm")));
    for (let i = 0; i < 40; i++) h.feed(h.audioChunk(h.open("tts"), 0, 34, { segmentEnd: i === 39 }));
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.hear(true, 2);
    expect(h.signals("output_hold")).toEqual(["output_hold#1(speech_candidate)"]);
    return h;
  };

  test("a turn that commits while it is held plays on when the candidate is discarded", () => {
    const h = held();
    h.feed(h.outcome(h.open("tts")));
    expect(h.signals("commit")).toEqual(["commit#1"]);
    const before = sentUs(h);
    h.advance(100);
    expect(sentUs(h)).toBe(before);
    h.hear(false, 3);
    expect(h.signals("output_resume")).toEqual(["output_resume#1(too_short)"]);
    h.advance(1_000);
    expect(sentUs(h)).toBe(800_000);
    h.deliver(1, "completed", 800_000);
    expect(h.state.turns).toEqual([]);
  });

  test("a held turn that is cancelled, or lost by the adapter, leaves no hold behind", () => {
    for (const end of [(h: KernelHarness) => h.feed(cancel(1)), (h: KernelHarness) => h.deliver(1, "lost", 0)]) {
      const h = held();
      h.feed(h.outcome(h.open("tts")));
      end(h);
      h.hear(false, 6);
      h.fenceAck(1, 0);
      expect(h.signals("output_resume")).toEqual([]);
      expect(h.state.prelude.heldTurn).toBe(0);
      expect(Object.keys(h.state.timers).filter((id) => id.startsWith("hold"))).toEqual([]);
      h.utter("again");
      h.reply("Fine.");
      expect(h.log.some(({ effect }) => effect.type === "egress_media" && effect.turn === 2)).toBe(true);
    }
  });
});
