import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { textOffset } from "./pronunciation.ts";
import { replayJournal } from "./replay.ts";
import { respellings } from "./respell.ts";
import { assistantGraph, KernelHarness, POLICY, testConfig } from "./testing/harness.ts";
import { conversation } from "./testing/scenes.ts";

const RULES = [
  { text: "SQL", say: "see queue ell" },
  { text: "Dr. Ng", say: "doctor ing" },
  { text: "ng", say: "en gee" },
];

/** As the kernel does it, on plain text. */
function spoken(text: string): { said: string; marks: number[] } {
  const found = respellings(
    text,
    RULES.map((rule) => rule.text),
  );
  let said = "";
  let at = 0;
  const marks: number[] = [];
  for (let i = 0; i < found.length; i += 3) {
    const [from = 0, to = 0, rule = 0] = found.slice(i, i + 3);
    said += text.slice(at, from);
    const say = RULES[rule]?.say ?? "";
    marks.push(from, to, said.length, said.length + say.length);
    said += say;
    at = to;
  }
  return { said: said + text.slice(at), marks };
}

test.each([
  ["Use sql, not mysql.", "Use see queue ell, not mysql."],
  ["Dr. Ng met Ng's friend ng", "doctor ing met Ng's friend en gee"],
  ["nothing here", "nothing here"],
  ["", ""],
])("X-09 whole words are said otherwise, whatever their case, the longest first: %j", (text, expected) => {
  expect(spoken(text).said).toBe(expected);
});

test("X-09 offsets lead back: what is said as written keeps its place, a respelt word is heard when its last sound is", () => {
  const word = fc.constantFrom("SQL", "dr. ng", "NG", "fox", "a", "mysql", ",", "über");
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      const text = words.join(" ");
      const { said, marks } = spoken(text);
      let before = 0;
      for (let at = 0; at <= said.length; at++) {
        const back = textOffset(marks, at);
        expect(back).toBeGreaterThanOrEqual(before);
        expect(back).toBeLessThanOrEqual(text.length);
        before = back;
        const inside = marks.findIndex((_, i) => i % 4 === 2 && at > (marks[i] ?? 0) && at < (marks[i + 1] ?? 0));
        if (inside !== -1) expect(back).toBe(marks[inside - 2]);
        else expect(said.slice(at, at + 1) === text.slice(back, back + 1) || marks.includes(at)).toBe(true);
      }
      expect(textOffset(marks, said.length)).toBe(text.length);
      for (let i = 0; i < marks.length; i += 4) {
        expect(textOffset(marks, marks[i + 2] ?? 0)).toBe(marks[i]);
        expect(textOffset(marks, marks[i + 3] ?? 0)).toBe(marks[i + 1]);
      }
    }),
  );
});

describe("X-09 a voice that is given another spelling", () => {
  /** The reply is cut after `playedUs`. */
  function call(reply: string, playedUs: number): KernelHarness {
    const h = new KernelHarness(
      testConfig(assistantGraph(), { policy: { ...POLICY, holdOnCandidate: false, pronunciations: RULES } }),
    );
    h.connect();
    h.utter("what is it");
    h.feed(h.textChunk(h.open("llm"), reply), h.outcome(h.open("llm")));
    h.speakPending(20);
    h.deliver(1, "accepted", 0);
    h.deliver(1, "started", 0);
    h.advance(1_500);
    h.hear(true, 4);
    h.fenceAck(1, playedUs);
    return h;
  }

  const pushed = (h: KernelHarness): string =>
    h.log.flatMap(({ effect }) => (effect.type === "provider_push_text" ? [h.text(effect.spans)] : [])).join("");
  const shown = (h: KernelHarness): string =>
    h.log
      .flatMap(({ effect }) =>
        effect.type === "egress_text" && effect.role === "assistant" ? [h.text(effect.spans)] : [],
      )
      .join("");

  test("X-09 says it so, shows and remembers the words of the reply, and replays the same", () => {
    const reply = "We use SQL here today.";
    const whole = call(reply, 10_000_000);
    expect(pushed(whole).trim()).toBe("We use see queue ell here today.");
    expect(shown(whole).trim()).toBe(reply);
    expect(conversation(whole).at(-1)).toBe(`assistant: ${reply}`);
    // "We use see queue" is 16 characters of 20 ms: the word is not out yet.
    expect(conversation(call(reply, 16 * 20_000)).at(-1)).toBe("assistant: We use");
    expect(conversation(call(reply, 20 * 20_000)).at(-1)).toBe("assistant: We use SQL");
    expect(conversation(call(reply, 25 * 20_000)).at(-1)).toBe("assistant: We use SQL here");
    expect(replayJournal(whole.config, whole.journal)).toMatchObject({ identical: true });
    expect(replayJournal(whole.config, whole.journal, { fns: whole.fns })).toMatchObject({ identical: true });
  });

  test("X-09 a reply without such words is given as it is", () => {
    const h = call("Nothing to see.", 10_000_000);
    expect(pushed(h).trim()).toBe("Nothing to see.");
    expect(h.journal.some(({ facts }) => facts.some(({ fn }) => fn === "respell"))).toBe(true);
  });
});
