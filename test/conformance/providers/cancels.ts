/** Cancel in each phase: the outcome at once, nothing after it, the vendor's call closed by us. */
import { describe, expect, test } from "vitest";
import { ordinary } from "./answers.ts";
import type { Conversation } from "./conversation.ts";
import type { SuiteRig } from "./suite.ts";

type Phase = readonly [string, (talk: Conversation, rig: SuiteRig) => Promise<void> | void];

const phases: readonly Phase[] = [
  ["before any input", (talk) => void talk.invocation],
  ["with input, before anything is answered", (talk) => void talk.feed()],
  ["after finish", (talk) => void talk.feed().finish()],
  [
    "while the vendor is being asked",
    async (talk, rig) => {
      rig.stage().fault("timeout_before");
      talk.feed().finish();
      if (rig.stage().fake !== undefined) await talk.until(() => talk.calls().length > 0, "the vendor to be asked");
    },
  ],
  [
    "in the middle of the answer",
    async (talk, rig) => {
      rig.stage().script({ ...ordinary, chunkMs: 30, audioMs: 1_000 });
      talk.feed();
      if (rig.subject.modality !== "stt" || rig.subject.gathers === true) talk.finish();
      const whole = !rig.streaming || rig.subject.partials === false || rig.subject.scripted === false;
      if (!whole)
        await talk.until(() => talk.sink.chunks.length > 0 || talk.sink.outcomes.length > 0, "the answer to begin");
      else if (rig.stage().fake !== undefined)
        await talk.until(() => talk.calls().length > 0 || rig.subject.modality === "stt", "the call");
    },
  ],
];

export function testCancels(rig: SuiteRig): void {
  describe("cancel", () => {
    test.each(phases)("%s: cancelled at once, nothing after it, the vendor's call closed", async (_name, reach) => {
      rig.stage().script(ordinary);
      const talk = rig.open();
      await reach(talk, rig);
      expect(talk.sink.outcomes, "it ended before it was cancelled").toEqual([]);
      talk.invocation.cancel("barge_in");
      expect(talk.sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
      talk.invocation.cancel("again");
      talk.invocation.finish();
      await talk.quiet();
      for (const call of talk.calls()) expect(call.closedBy).toBe("client");
      expect(talk.gateway.counters()).toMatchObject({ outcomesAfterTerminal: 0, threw: 0 });
    });

    test("data that comes after a cancel goes nowhere", async () => {
      rig.stage().script({ ...ordinary, chunkMs: 5 });
      rig.stage().fault("late_data");
      const talk = rig.open().feed().finish();
      talk.invocation.cancel("barge_in");
      await talk.quiet();
      expect(talk.sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
    });
  });
}
