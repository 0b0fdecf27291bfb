import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import { replayJournal } from "./replay.ts";
import type { SessionPolicy } from "./session-config.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { committed, idle, REPLY, told } from "./testing/scenes.ts";

const ASSENT = { backChannel: { words: ["mhm", "yeah", "okay"], maxMs: 600 } };

function playing(policy: Partial<SessionPolicy>): KernelHarness {
  const h = committed(policy);
  expect(h.state.turns[0]?.output.sentUs).toBeGreaterThan(0);
  return h;
}

/** Speech whose partial comes after `frames` of it. Returns all effects. */
function speaks(h: KernelHarness, frames: number, partial: string | null, after = 2): Effect[] {
  const effects = h.hear(true, Math.min(frames, after));
  if (partial !== null) effects.push(...h.feed(h.textChunk(h.open("stt"), partial, { final: false })));
  effects.push(...h.hear(true, frames - Math.min(frames, after)));
  return effects;
}

const discarded = (h: KernelHarness): string[] =>
  h.log.flatMap(({ effect }) =>
    effect.type === "telemetry" && effect.name.startsWith("utterance_discarded") ? [effect.name] : [],
  );

const fences = (h: KernelHarness): number => h.log.filter(({ effect }) => effect.type === "egress_fence").length;

function replays(h: KernelHarness): void {
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
  expect(replayJournal(h.config, h.journal, { fns: h.fns })).toMatchObject({ identical: true });
}

/** Milliseconds from the first speech to the fence, were it to come. */
function cutAfterMs(h: KernelHarness, say: () => void): number {
  const from = h.nowNs;
  say();
  const fence = h.log.find(({ effect, atNs }) => effect.type === "egress_fence" && atNs >= from);
  return fence === undefined ? Number.POSITIVE_INFINITY : (fence.atNs - from) / 1e6;
}

describe("§2 false barge-in: back-channel words", () => {
  test("assent over the output is held, then discarded and resumed: nothing is cut and no turn opens", () => {
    const h = playing(ASSENT);
    const effects = [...speaks(h, 10, "mhm", 8), ...h.hear(false, 10)];
    expect(told(effects).filter((name) => /hold|resume|barge_in|^cancel/.test(name))).toEqual([
      "output_hold#1(speech_candidate)",
      "output_resume#1(back_channel)",
    ]);
    expect(discarded(h)).toEqual(["utterance_discarded_back_channel"]);
    expect(fences(h)).toBe(0);
    expect(effects.filter((effect) => effect.type === "provider_cancel")).toHaveLength(1);
    h.advance(3_000);
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    h.hear(false, 100);
    expect(h.state.lastTurn).toBe(1);
    expect(h.state.conversation.at(-1)?.role).toBe("assistant");
    expect(h.text(h.state.conversation.at(-1)?.spans ?? []).trim()).toBe(REPLY);
    replays(h);
  });

  test("F-033 a real interruption still cuts: by its first word, and without any by its length", () => {
    const bar = 600 + 40;
    const byWord = playing(ASSENT);
    expect(cutAfterMs(byWord, () => speaks(byWord, 40, "stop", 5))).toBeLessThanOrEqual(5 * 20);
    expect(byWord.signals("barge_in")).toEqual(["barge_in#1(barge_in)"]);
    const wordless = playing(ASSENT);
    expect(cutAfterMs(wordless, () => speaks(wordless, 40, null))).toBeLessThanOrEqual(bar);
    const drawn = playing(ASSENT);
    expect(cutAfterMs(drawn, () => speaks(drawn, 40, "yeah", 8))).toBeLessThanOrEqual(bar);
    const assent = playing(ASSENT);
    const quiet = () => {
      speaks(assent, 12, "yeah", 8);
      assent.hear(false, 40);
    };
    expect(cutAfterMs(assent, quiet)).toBe(Number.POSITIVE_INFINITY);
    // Without the policy the same assent cuts.
    const plain = playing({});
    expect(cutAfterMs(plain, () => speaks(plain, 10, "mhm", 8))).toBeLessThanOrEqual(100);
    for (const h of [byWord, wordless, drawn, assent]) replays(h);
  });

  test("assent that grows into a sentence cuts at the word that is none", () => {
    const h = playing(ASSENT);
    h.hear(true, 8);
    h.feed(h.textChunk(h.open("stt"), "yeah", { final: false }));
    expect(fences(h)).toBe(0);
    h.hear(true, 4);
    h.feed(h.textChunk(h.open("stt"), "yeah but wait", { final: false }));
    expect(fences(h)).toBe(1);
    h.hear(false, 6);
    const stt = Object.values(h.state.invocations).find((inv) => inv.modality === "stt")?.id ?? 0;
    h.feed(h.textChunk(stt, "yeah but wait"), h.outcome(stt));
    expect(h.signals("turn_open#2")).toHaveLength(1);
  });

  /** Speech ends with no word of it known; the recogniser says it all at the end. */
  function late(text: string): KernelHarness {
    const h = playing(ASSENT);
    h.hear(true, 8);
    h.hear(false, 8);
    expect(fences(h)).toBe(0);
    expect(h.state.prelude.closing).toHaveLength(1);
    const stt = h.state.prelude.closing[0]?.invocation ?? 0;
    h.feed(...(text === "" ? [] : [h.textChunk(stt, text)]), h.outcome(stt));
    return h;
  }

  test("what ended before its words came is judged by its transcript", () => {
    const assent = late("okay");
    expect(fences(assent)).toBe(0);
    expect(assent.signals("output_resume")).toEqual(["output_resume#1(back_channel)"]);
    expect(discarded(assent)).toEqual(["utterance_discarded_back_channel"]);
    const silent = late("");
    expect(silent.signals("output_resume")).toEqual(["output_resume#1(empty)"]);
    const real = late("wait");
    expect(fences(real)).toBe(1);
    expect(real.signals("turn_open#2")).toHaveLength(1);
    expect(real.state.turns.find((turn) => turn.number === 1)?.cancelReason).toBe("barge_in");
    for (const h of [assent, silent, real]) replays(h);
  });

  test("assent is an answer where nothing is being said", () => {
    const h = idle(ASSENT);
    h.utter("yeah");
    expect(h.signals("turn_open#1")).toHaveLength(1);
    expect(h.text(h.state.conversation[0]?.spans ?? [])).toBe("yeah");
  });

  test("the output is held no longer than it may, whatever the recogniser does", () => {
    const h = playing({ ...ASSENT, finalWaitMs: 5_000 });
    const effects = [...h.hear(true, 8), ...h.hear(false, 8), ...h.advance(2_000)];
    expect(told(effects).filter((name) => name.startsWith("output_"))).toEqual([
      "output_hold#1(speech_candidate)",
      "output_resume#1(hold_deadline)",
    ]);
  });
});

describe("§2 false barge-in: least speech over the output", () => {
  test("shorter speech is discarded over the output and counts where nothing is said", () => {
    const h = playing({ minSpeechMs: 300 });
    h.hear(true, 10);
    h.hear(false, 6);
    expect([fences(h), discarded(h)]).toEqual([0, ["utterance_discarded_too_short"]]);
    expect(cutAfterMs(h, () => h.hear(true, 20))).toBe(300);
    const quiet = idle({ minSpeechMs: 300 });
    quiet.utter("hi", 5);
    expect(quiet.signals("turn_open#1")).toHaveLength(1);
    replays(h);
  });
});

describe("§2 false barge-in: own echo", () => {
  const echo = { echoGuard: true } as const;

  test("the agent's own words do not interrupt it, however long; other words do", () => {
    const h = playing(echo);
    h.hear(true, 8);
    h.feed(h.textChunk(h.open("stt"), "once upon a time", { final: false }));
    h.hear(true, 60);
    expect(fences(h)).toBe(0);
    h.hear(false, 6);
    expect(discarded(h)).toEqual(["utterance_discarded_own_echo"]);
    expect(h.state.lastTurn).toBe(1);
    const mixed = playing(echo);
    mixed.hear(true, 8);
    mixed.feed(mixed.textChunk(mixed.open("stt"), "once upon please stop it", { final: false }));
    expect(fences(mixed)).toBe(1);
    // Without the guard the echo cuts.
    const plain = playing({});
    plain.hear(true, 8);
    expect(fences(plain)).toBe(1);
    replays(h);
    replays(mixed);
  });

  test("the same words where nothing is said are the caller's", () => {
    const h = idle(echo);
    h.utter("once upon a time");
    expect(h.signals("turn_open#1")).toHaveLength(1);
  });
});
