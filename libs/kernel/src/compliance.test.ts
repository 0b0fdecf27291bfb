import fc from "fast-check";
import { expect, test } from "vitest";
import { replayJournal } from "./replay.ts";
import { guardedGraph } from "./testing/graphs.ts";
import { KernelHarness, node, testConfig } from "./testing/harness.ts";
import { clauses, counted, decisions } from "./testing/said.ts";
import { conversation, sealed } from "./testing/scenes.ts";

const CARD = "4111 1111 1111 1111";
const guard = (settings: Record<string, string | string[]> = { card_numbers: "mask", emails: "replace" }) =>
  node("guard", "compliance", "turn", settings);

function asked(settings?: Record<string, string | string[]>): KernelHarness {
  const h = new KernelHarness(testConfig(guardedGraph([guard(settings)])));
  h.connect();
  h.utter("tell me");
  return h;
}

function answer(h: KernelHarness, ...pieces: string[]): void {
  const llm = h.open("llm");
  for (const piece of pieces) h.feed(h.textChunk(llm, piece));
  h.feed(h.outcome(llm));
}

function played(h: KernelHarness): void {
  const turn = h.state.turns[0]?.number ?? 1;
  h.speakPending(40);
  h.deliver(turn, "accepted", 0);
  h.deliver(turn, "started", 0);
  h.advance(3_000);
}

test("F-118 F-010 a card number in pieces is masked before the voice; heard text is what was really said", () => {
  const h = asked();
  answer(h, "Your card is 4111 11", "11 1111 11", "11. Write to jo@exam", "ple.com. Bye.");
  expect(clauses(h).join("")).toBe("Your card is card number removed. Write to removed. Bye.");
  played(h);
  h.deliver(1, "completed", h.state.turns[0]?.output.sentUs ?? 0);
  expect(conversation(h).at(-1)).toBe("assistant: Your card is card number removed. Write to removed. Bye.");
  expect(sealed(h, 1).manifest.terminal?.kind).toBe("commit");
});

test("F-118 the audit event names node, rule and action, and never the text", () => {
  const h = asked();
  answer(h, `Your card is ${CARD}. `, `And ${CARD} or jo@example.com. `);
  expect(decisions(h)).toEqual([
    // The full stop might have gone on to be part of the number: both were decided at once.
    'policy {"node":"guard","action":"mask","rule":"card_number","count":2}',
    'policy {"node":"guard","action":"replace","rule":"email","count":1}',
  ]);
  const told = JSON.stringify(h.log.map(({ effect }) => effect).filter(({ type }) => type !== "record"));
  expect(told).not.toContain("4111");
  expect(told).not.toContain("example.com");
});

test("F-118 a blocked word ends the reply with the configured sentence; the turn commits", () => {
  const h = asked({ words: ["secret plan"], words_action: "block", block_sentence: "That is not for me to say." });
  answer(h, "Well, the sec", "ret plan is to", " win. And more.");
  expect(clauses(h).join("")).toBe("Well, the  That is not for me to say. ");
  expect(counted(h, "compliance_dropped")).toEqual({ guard: 1 });
  played(h);
  expect(h.signals("commit")).toEqual(["commit#1"]);
  expect(decisions(h)).toEqual(['policy {"node":"guard","action":"block","rule":"words","count":1}']);
});

test("F-118 with every rule off the text passes as it is", () => {
  const h = asked({});
  answer(h, `Card ${CARD}. `);
  expect(clauses(h).join("")).toBe(`Card ${CARD}. `);
  expect(decisions(h)).toEqual([]);
});

test("F-118 F-034 what is held back when the turn is cut is never said", () => {
  const h = asked();
  const llm = h.open("llm");
  h.feed(h.textChunk(llm, "Your card is 4111 1111"));
  h.feed(h.control("stop", { turn: 1, reason: "user_stop" }), h.textChunk(llm, " 1111 1111. "), h.outcome(llm));
  h.advance(1_000);
  expect(clauses(h).join("")).toBe("");
  expect(h.signals("abort")).toEqual(["abort#1(cancelled)"]);
});

test("F-118 audits of one turn are bounded; the rest is told in one", () => {
  const h = asked();
  answer(h, ...Array.from({ length: 40 }, () => `It is ${CARD}. `));
  expect(decisions(h)).toHaveLength(33);
  expect(decisions(h).at(-1)).toBe('policy {"node":"guard","action":"untold","count":8}');
});

test("F-118 NF-009 any chunking of a reply says the same as the whole, and replays identically", () => {
  const text = `Pay with ${CARD} or mail jo.doe@mail.example.com, then call +49 30 1234567. The secret plan: (${CARD})!`;
  const rules = {
    card_numbers: "mask",
    emails: "replace",
    phone_numbers: "mask",
    words: ["secret plan"],
    replacement: "an address",
  };
  const spoken = (pieces: string[]): string => {
    const h = asked(rules);
    answer(h, ...pieces);
    expect(replayJournal(h.config, h.journal).identical).toBe(true);
    return clauses(h).join("");
  };
  const whole = spoken([text]);
  expect(whole).toBe(
    "Pay with card number removed or mail an address, then call phone number removed. The removed: card number removed)!",
  );
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: text.length }), { maxLength: 12 }), (cuts) => {
      const at = cuts.filter((cut) => cut > 0 && cut < text.length).sort((a, b) => a - b);
      const pieces = [...at, text.length].map((end, i) => text.slice(at[i - 1] ?? 0, end));
      expect(spoken(pieces)).toBe(whole);
    }),
    { numRuns: 60 },
  );
});
