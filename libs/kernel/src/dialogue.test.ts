import { describe, expect, test } from "vitest";
import type { Effect } from "./effect.ts";
import type { InputBody } from "./input.ts";
import { replayJournal } from "./replay.ts";
import type { SessionConfig, SessionPolicy } from "./session-config.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { say, sealed, told } from "./testing/scenes.ts";

const SENTENCES: Readonly<Record<string, string>> = {
  "silence[0]": "Are you still there?",
  "silence[1]": "Can you hear me?",
  "max_call.warning": "We have one minute left.",
  hang_up: "Goodbye.",
};

/** A connected session whose spec has these sentences. */
function call(policy: Partial<SessionPolicy>, names: readonly string[] = [], over: Partial<SessionConfig> = {}) {
  const spoken = Object.fromEntries(
    names.map((name, i) => [name, [{ ref: 9_000 + i, from: 0, to: (SENTENCES[name] ?? "").length }]]),
  );
  const config = testConfig(assistantGraph(), { policy: { ...POLICY, ...policy }, spoken, ...over });
  const h = new KernelHarness(config);
  names.forEach((name, i) => void h.texts.set(9_000 + i, SENTENCES[name] ?? ""));
  h.connect();
  return h;
}

const SILENCE = { afterMs: 5_000, prompts: 2, maxPrompts: 3, andThen: "hang_up" } as const;
const PROMPTS = ["silence[0]", "silence[1]"];

/** The voice speaks what is asked of it and the caller hears it to its end. */
function heardOut(h: KernelHarness, turn: number): void {
  h.speakPending();
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
  h.advance(3_000);
  h.deliver(turn, "completed", h.state.turns.find((t) => t.number === turn)?.output.sentUs ?? 0);
}

function saidIn(h: KernelHarness, turn: number): string {
  return h.log
    .flatMap(({ effect }) =>
      effect.type === "egress_text" && effect.turn === turn && effect.role === "assistant"
        ? [h.text(effect.spans)]
        : [],
    )
    .join("");
}

const status = (h: KernelHarness): string[] =>
  h.log.flatMap(({ effect }) => (effect.type === "status" ? [`${effect.phase}(${effect.reason})`] : []));

function replays(h: KernelHarness): void {
  expect(replayJournal(h.config, h.journal)).toMatchObject({ identical: true, divergences: [] });
  expect(replayJournal(h.config, h.journal, { fns: h.fns })).toMatchObject({ identical: true });
}

describe("X-01 prompts on silence", () => {
  test("X-01 silence for its time is prompted in a turn of its own, whose origin stands in plan and evidence", () => {
    const h = call({ silence: SILENCE }, PROMPTS);
    h.advance(4_999);
    expect(h.signals("turn_open")).toEqual([]);
    h.advance(1);
    expect(h.signals("turn_open")).toEqual(["turn_open_proposed(silence)", "turn_open#1"]);
    heardOut(h, 1);
    expect(saidIn(h, 1)).toBe("Are you still there?");
    const { manifest } = sealed(h, 1);
    expect(manifest.nondeterministicInputs?.[0]).toMatchObject({ kind: "proposal", ref: "timer" });
    const plan = h.log.find(({ effect }) => effect.type === "record" && effect.record.kind === "plan")?.effect;
    expect(plan).toMatchObject({ record: { plan: { origin: "timer", policy: { silence: SILENCE } } } });
    replays(h);
  });

  test("X-01 prompts follow one another without drift, are counted, and then the agent hangs up", () => {
    const h = call({ silence: SILENCE }, [...PROMPTS, "hang_up"]);
    const quiet: number[] = [];
    for (let n = 1; n <= 3; n++) {
      const at = h.nowNs;
      h.advance(5_000);
      expect(h.signals(`turn_open#${n}`)).toHaveLength(1);
      quiet.push(h.nowNs - at);
      heardOut(h, n);
    }
    expect(quiet).toEqual([5e9, 5e9, 5e9]);
    expect([1, 2, 3].map((n) => saidIn(h, n))).toEqual([
      "Are you still there?",
      "Can you hear me?",
      "Are you still there?",
    ]);
    h.advance(5_000);
    expect(saidIn(h, 4)).toBe("Goodbye.");
    heardOut(h, 4);
    expect(status(h).at(-1)).toBe("ended(silence)");
    expect(h.timers.size).toBe(0);
    replays(h);
  });

  test("X-01 no prompt while the agent speaks, the caller speaks, is muted, or the line is being restored", () => {
    const h = call({ silence: SILENCE }, PROMPTS);
    h.advance(4_000);
    h.feed(h.control("mute", { controlClass: "positioned", lastMediaSequence: 0 }));
    h.advance(20_000);
    h.feed(h.control("unmute", { controlClass: "positioned", lastMediaSequence: 0 }));
    h.advance(4_940);
    expect(h.signals("turn_open")).toEqual([]);
    h.hear(true, 400);
    expect(h.signals("turn_open")).toEqual([]);
    h.utter("tell me a story");
    h.reply("Once upon a time there was a fox.", 20);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    for (let s = 1; s < 5; s++) {
      h.advance(1_500);
      h.deliver(1, "progress", s * 100_000);
    }
    expect(h.signals("turn_open#2")).toEqual([]);
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    h.feed(h.control("reconnecting"));
    h.advance(4_900);
    h.feed(h.control("connected"));
    h.advance(4_999);
    expect(h.signals("turn_open#2")).toEqual([]);
    h.advance(1);
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
    replays(h);
  });

  test("X-01 the caller's words start the count anew; with then: nothing it falls silent after the last prompt", () => {
    const h = call({ silence: { ...SILENCE, maxPrompts: 1, andThen: "nothing" } }, PROMPTS);
    h.advance(5_000);
    heardOut(h, 1);
    h.advance(60_000);
    expect(h.state.lastTurn).toBe(1);
    expect(h.timers.size).toBe(0);
    h.utter("hello");
    h.reply("Hello.");
    heardOut(h, 2);
    h.advance(5_000);
    expect(h.state.lastTurn).toBe(3);
    expect(h.state.lifecycle.phase).toBe("active");
  });

  const CUT = { silence: { ...SILENCE, maxPrompts: 1 }, backChannel: { words: ["mhm"], maxMs: 600 } } as const;

  /** Speech over the prompt of turn 1, and what its transcript says; the prompt is heard to its end. */
  function overThePrompt(h: KernelHarness, words: string): void {
    h.advance(5_000);
    h.speakPending();
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.hear(true, 10);
    h.hear(false, 30);
    if (words !== "") h.feed(h.textChunk(h.open("stt"), words));
    h.feed(h.outcome(h.open("stt")));
    h.advance(1_000);
    h.deliver(1, "completed", h.state.turns.find((t) => t.number === 1)?.output.sentUs ?? 0);
  }

  test.each(["mhm", ""])("X-01 what words discard (%j) does not start the count anew: the call ends", (words) => {
    const h = call(CUT, PROMPTS);
    overThePrompt(h, words);
    expect(h.state.dialogue?.prompted).toBe(1);
    h.advance(6_000);
    expect(status(h).at(-1)).toBe("ended(silence)");
    replays(h);
  });

  test("X-01 what words let in starts the count anew; so did, before behaviour 5, whatever was awaited", () => {
    const h = call(CUT, PROMPTS);
    overThePrompt(h, "no wait");
    expect(h.state.dialogue?.prompted).toBe(0);
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
    replays(h);
    const before = call(CUT, PROMPTS, { behaviours: [1, 2, 3, 4] });
    overThePrompt(before, "mhm");
    expect(before.state.dialogue?.prompted).toBe(0);
    replays(before);
  });

  test("X-01 a session without the policy sets no timer and leaves no state behind", () => {
    const h = call({});
    h.advance(600_000);
    expect(h.log.some(({ effect }) => effect.type === "timer_set")).toBe(false);
    expect(h.state.dialogue).toBeUndefined();
  });
});

const hangUpNow: InputBody = { type: "operator", command: "hang_up", turn: 0, reason: "" };

describe("X-01 hang-up", () => {
  test("X-01 by API: the reply and the last sentence are played out, then the session ends", () => {
    const h = call({}, ["hang_up"]);
    h.utter("tell me a story");
    h.reply("Once upon a time.");
    h.feed(hangUpNow);
    h.advance(200);
    expect(h.state.lifecycle.phase).toBe("active");
    expect(h.signals("turn_open#2")).toEqual([]);
    heardOut(h, 1);
    expect(h.signals("commit#1")).toHaveLength(1);
    expect(saidIn(h, 2)).toBe("Goodbye.");
    heardOut(h, 2);
    expect(status(h).at(-1)).toBe("ended(agent_hangup)");
    expect(sealed(h, 2).manifest.nondeterministicInputs?.[0]).toMatchObject({ ref: "operator" });
    replays(h);
  });

  test("X-01 once it is firm no other turn opens, and with nothing to say the session ends at once", () => {
    const h = call({}, ["hang_up"]);
    h.feed(hangUpNow);
    h.feed(say(h, "One more thing."));
    expect(h.signals("reject")).toEqual(["reject(session_hanging_up)"]);
    const plain = call({});
    plain.feed(hangUpNow);
    expect(status(plain).at(-1)).toBe("ended(agent_hangup)");
  });

  test("X-01 a text that was said with it hangs up after it; what the last sentence cannot say is not waited for", () => {
    const h = call({});
    h.feed({ ...say(h, "Thank you, goodbye."), hangUp: true } as InputBody);
    heardOut(h, 1);
    expect(status(h).at(-1)).toBe("ended(agent_hangup)");
    const refused = call({}, ["hang_up"]);
    refused.feed({ type: "capacity", admit: false, outcome: "reject", reason: "full", evidenceQuotaBytes: -1 });
    refused.feed(hangUpNow);
    refused.feed();
    expect(status(refused).at(-1)).toBe("ended(agent_hangup)");
  });

  const byModel = { hangUp: { phrases: ["have a nice day"], marker: "[hang_up]", key: "*" } };

  test("X-01 by the model's marker, which is cut out of what is said and heard", () => {
    const h = call(byModel);
    h.utter("that is all");
    h.reply("Very well. [hang_up]");
    expect(saidIn(h, 1).trim()).toBe("Very well.");
    const pushed = h.log.flatMap(({ effect }) => (effect.type === "provider_push_text" ? [h.text(effect.spans)] : []));
    expect(pushed.join("")).not.toContain("hang_up");
    heardOut(h, 1);
    expect(h.state.conversation.map((part) => h.text(part.spans).trim())).toEqual(["that is all", "Very well."]);
    expect(status(h).at(-1)).toBe("ended(agent_hangup)");
    replays(h);
  });

  test("X-01 by a phrase the model says; the same phrase in a given text ends nothing", () => {
    const h = call(byModel);
    h.feed(say(h, "Have a nice day."));
    heardOut(h, 1);
    expect(h.state.lifecycle.phase).toBe("active");
    h.utter("that is all");
    h.reply("Thank you. Have a nice day!");
    heardOut(h, 2);
    expect(saidIn(h, 2)).toBe("Thank you. Have a nice day!");
    expect(status(h).at(-1)).toBe("ended(agent_hangup)");
  });

  test("X-01 the caller who speaks into the model's farewell takes it back", () => {
    const h = call(byModel);
    h.utter("that is all");
    h.reply("Thank you. Have a nice day!", 40);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.hear(true, 6);
    h.fenceAck(1, 100_000);
    h.hear(false, 6);
    const stt = h.open("stt");
    h.feed(h.textChunk(stt, "wait"), h.outcome(stt));
    h.reply("Yes?");
    heardOut(h, 2);
    expect(h.state.lifecycle.phase).toBe("active");
    expect(h.timers.has("hang_up")).toBe(false);
    replays(h);
  });

  test("X-01 by a key on the caller's phone; other keys end nothing", () => {
    const h = call(byModel);
    const press = (key: string) =>
      h.feed(h.control("dtmf", { controlClass: "positioned", fields: { "telephony.digit": key } }));
    press("5");
    expect(h.state.lifecycle.phase).toBe("active");
    press("*");
    expect(status(h).at(-1)).toBe("ended(caller_hangup)");
    replays(h);
  });
});

describe("X-01 longest call", () => {
  const LIMIT = { maxCallMs: 60_000, maxCallWarningMs: 20_000 };

  test("X-01 is warned of before its end and ends in order after the turn", () => {
    const h = call(LIMIT, ["max_call.warning", "hang_up"]);
    h.advance(39_999);
    expect(h.state.lastTurn).toBe(0);
    h.advance(1);
    expect(saidIn(h, 1)).toBe("We have one minute left.");
    heardOut(h, 1);
    h.advance(16_000);
    h.utter("tell me a story");
    h.reply("Once upon a time there was a fox.", 60);
    h.deliver(2, "accepted", 0);
    h.deliver(2, "started", 0);
    h.advance(1_500);
    expect(h.nowNs).toBeGreaterThan(60e9);
    expect(h.signals("abort")).toEqual([]);
    heardOut(h, 2);
    expect(saidIn(h, 3)).toBe("Goodbye.");
    heardOut(h, 3);
    expect(status(h).at(-1)).toBe("ended(max_duration)");
    expect(h.signals("turn_open#3")).toEqual(["turn_open#3"]);
    replays(h);
  });

  test("X-01 nothing the caller says takes it back, and one that never ends is ended at the deadline", () => {
    const h = call({ ...LIMIT, bargeIn: false });
    h.utter("tell me a story");
    h.reply("Once upon a time there was a fox.", 20);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    for (let at = 0; at < 190; at++) {
      h.advance(1_000);
      if (h.state.turns.length > 0) h.deliver(1, "progress", at);
    }
    expect(status(h).at(-1)).toBe("ended(max_duration)");
  });
});

describe("X-01 say", () => {
  const playing = (options: object): KernelHarness => {
    const h = call({ secondProposal: "preempt" });
    h.feed({ ...say(h, "This call is recorded for your safety."), ...options } as InputBody);
    h.speakPending(60);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(200);
    return h;
  };
  const media = (effects: readonly Effect[]) => effects.filter((effect) => effect.type === "egress_media");

  test("X-01 uninterruptible: speech neither holds nor cuts it, the caller's turn waits for its end; an operator cuts it", () => {
    const h = playing({ uninterruptible: true });
    const effects = h.utter("hello");
    expect(told(effects).filter((name) => /barge_in|hold|abort|cancel/.test(name))).toEqual([]);
    expect(media(effects).length).toBeGreaterThan(0);
    expect(h.signals("turn_open#2")).toEqual([]);
    h.advance(3_000);
    h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
    expect(h.signals("turn_open#2")).toEqual(["turn_open#2"]);
    replays(h);
    const cut = playing({ uninterruptible: true });
    cut.feed({ type: "operator", command: "cancel_turn", turn: 1, reason: "operator" });
    expect(cut.signals("playback_cancelled")).toHaveLength(1);
    const plain = playing({});
    expect(told(plain.utter("hello"))).toContain("barge_in#1(barge_in)");
  });

  test("X-01 queue waits for what is being said, preempt cuts it, whatever the session's policy", () => {
    const queued = playing({});
    queued.feed({ ...say(queued, "Next."), second: "queue" } as InputBody);
    expect(queued.signals("turn_open#2")).toEqual([]);
    heardOut(queued, 1);
    expect(queued.signals("turn_open#2")).toHaveLength(1);
    const cut = playing({});
    cut.config.policy satisfies SessionPolicy;
    cut.feed({ ...say(cut, "Now."), second: "preempt" } as InputBody);
    expect(cut.signals("cancel#1")).toEqual(["cancel#1(preempted)"]);
    expect(cut.signals("turn_open#2")).toHaveLength(1);
  });
});
