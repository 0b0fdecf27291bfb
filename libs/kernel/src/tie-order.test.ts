import type { MonoNs } from "@rspp/base/brand";
import { describe, expect, test } from "vitest";
import type { InputBody } from "./input.ts";
import type { KernelHarness } from "./testing/harness.ts";
import { authority, cancel, sealed, speaking } from "./testing/scenes.ts";

/** Causes of a turn's end that may meet in one batch, highest first (`kernel.md` §2). */
const CAUSES: [string, (h: KernelHarness) => InputBody, string][] = [
  ["authority loss", (h) => authority(h, "revoked"), "abort#1(authority_loss)"],
  ["cancel", () => cancel(1), "abort#1(cancelled)"],
  ["budget exhausted", () => ({ type: "timer", id: "first_output:1" }), "abort#1(budget_exhausted)"],
  ["provider failure", (h) => h.outcome(h.open("llm"), "error"), "abort#1(provider_failure)"],
  ["disconnect", () => ({ type: "timer", id: "reconnect" }), "abort#1(transport_disconnect_or_stall)"],
  ["generation complete", (h) => h.outcome(h.open("tts")), "commit#1"],
];

/** Active and speaking, with the budget timer and the reconnect deadline due now. */
function due(): KernelHarness {
  const h = speaking();
  h.feed(h.control("disconnected"));
  // All text was given to the voice, so that its success is the turn's completion.
  const voice = h.state.invocations[h.open("tts")];
  if (voice !== undefined) voice.finished = true;
  h.state.timers["first_output:1"] = h.nowNs as MonoNs;
  h.state.timers.reconnect = h.nowNs as MonoNs;
  return h;
}

describe("F-140 ties inside one batch", () => {
  for (const [i, [first, make, expected]] of CAUSES.entries()) {
    test(`${first} alone`, () => {
      const h = due();
      h.feed(make(h));
      expect([...h.signals("abort"), ...h.signals("commit")]).toEqual([expected]);
    });
    for (const [second, makeSecond] of CAUSES.slice(i + 1)) {
      test(`${first} > ${second}, in either order of arrival`, () => {
        for (const swapped of [false, true]) {
          const h = due();
          const bodies = [make(h), makeSecond(h)];
          h.feed(...(swapped ? bodies.reverse() : bodies));
          expect([...h.signals("abort"), ...h.signals("commit")]).toEqual([expected]);
          expect(h.signals("close")).toEqual(["close#1"]);
          expect(sealed(h, 1).missing).toEqual([]);
        }
      });
    }
  }

  test("a barge-in that dispatch finds comes before a failure or completion taken in earlier in the batch", () => {
    for (const lesser of [
      (h: KernelHarness) => h.outcome(h.open("tts")),
      (h: KernelHarness) => h.outcome(h.open("llm"), "error"),
    ]) {
      const h = speaking();
      h.hear(true, 2);
      h.advance(20);
      const asked = h.feed(h.frame()).find((effect) => effect.type === "node_event");
      if (asked?.type !== "node_event") throw new Error("no VAD command");
      const { command, mediaUs, durationUs } = asked;
      const body = { type: "activity", speech: true, probability: 1, mediaUs, durationUs } as const;
      h.feed(lesser(h), { type: "node_emitted", command, index: 0, port: "activity", body });
      expect([...h.signals("abort"), ...h.signals("commit")]).toEqual(["abort#1(cancelled)"]);
    }
  });

  test("all six at once, any rotation", () => {
    for (let shift = 0; shift < CAUSES.length; shift++) {
      const h = due();
      const bodies = CAUSES.map(([, make]) => make(h));
      h.feed(...bodies.slice(shift), ...bodies.slice(0, shift));
      expect([...h.signals("abort"), ...h.signals("commit")]).toEqual(["abort#1(authority_loss)"]);
    }
  });
});
