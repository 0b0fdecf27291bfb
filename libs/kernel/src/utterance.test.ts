import { describe, expect, test } from "vitest";
import {
  UTTERANCE_PHASES,
  UTTERANCE_TRIGGERS,
  type Utterance,
  utteranceCreate,
  utteranceTransition,
} from "./utterance.ts";

const legal: Readonly<Record<string, string>> = {
  "none speech_started": "candidate",
  "candidate confirmed": "confirmed",
  "candidate discard": "discarded",
  "confirmed endpoint": "ended",
  "confirmed discard": "discarded",
  "ended reset": "none",
  "discarded reset": "none",
};

describe("utterance machine", () => {
  for (const phase of UTTERANCE_PHASES) {
    for (const trigger of UTTERANCE_TRIGGERS) {
      const next = legal[`${phase} ${trigger}`];
      test(`${trigger} in ${phase} is ${next === undefined ? "refused and changes nothing" : `a move to ${next}`}`, () => {
        const u: Utterance = { number: 4, phase, discardReason: null };
        const move = utteranceTransition(u, trigger, trigger === "discard" ? "empty" : undefined);
        if (next === undefined) {
          expect(move).toEqual({ ok: false, refusal: `utterance: ${trigger} is illegal in ${phase}` });
          expect(u).toEqual({ number: 4, phase, discardReason: null });
          return;
        }
        const number = trigger === "speech_started" ? 5 : 4;
        expect(move).toEqual({ ok: true, from: phase, to: next, number });
        expect(u).toEqual({ number, phase: next, discardReason: trigger === "discard" ? "empty" : null });
      });
    }
  }

  test("numbers rise by one per utterance and survive a reset", () => {
    const u = utteranceCreate();
    for (let n = 1; n <= 3; n++) {
      utteranceTransition(u, "speech_started");
      utteranceTransition(u, "discard", "too_short");
      expect(u).toEqual({ number: n, phase: "discarded", discardReason: "too_short" });
      utteranceTransition(u, "reset");
    }
    expect(u).toEqual({ number: 3, phase: "none", discardReason: null });
  });

  test("a discard without reason, or a reason without discard, is refused", () => {
    const u: Utterance = { number: 1, phase: "candidate", discardReason: null };
    expect(utteranceTransition(u, "discard")).toEqual({ ok: false, refusal: "utterance: discard needs a reason" });
    expect(utteranceTransition(u, "confirmed", "empty").ok).toBe(false);
    expect(u.phase).toBe("candidate");
  });
});
