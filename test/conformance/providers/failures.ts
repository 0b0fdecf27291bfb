/** Each class of failure by its own name, and an answer as soon as the vendor is well again. */
import type { OutcomeKind } from "@rspp/ports/provider";
import { describe, expect, test } from "vitest";
import type { Fault } from "../../fakes/fake.ts";
import { ordinary } from "./answers.ts";
import type { SuiteRig } from "./suite.ts";

interface Expected {
  readonly kinds: readonly OutcomeKind[];
  readonly detail?: RegExp;
}

/** What each fault is to the gateway. Silent audio is the gateway's to find: to the adapter it is audio. */
const expected: Readonly<Record<Exclude<Fault, "none" | "silent_audio">, Expected>> = {
  timeout_before: { kinds: ["timeout"] },
  timeout_midway: { kinds: ["timeout"] },
  unauthorized: { kinds: ["unauthorized"] },
  rate_limited: { kinds: ["overload"], detail: /^(rate_limited|quota):/ },
  server_error: { kinds: ["error", "overload"] },
  disconnect: { kinds: ["disconnect"] },
  stall: { kinds: ["timeout"], detail: /stalled/ },
  empty: { kinds: ["empty"] },
  garbage: { kinds: ["error"], detail: /^malformed/ },
  late_data: { kinds: ["success"] },
};

export function testFailures(rig: SuiteRig, may: ReadonlySet<Fault>): void {
  const { patienceMs = 3_000 } = rig.subject;
  if (![...may].some((fault) => fault in expected)) return;
  describe("failures", () => {
    for (const [fault, { kinds, detail }] of Object.entries(expected) as [keyof typeof expected, Expected][]) {
      if (!may.has(fault)) continue;
      test(`${fault} ends in ${kinds.join(" or ")}; the next call is answered`, async () => {
        rig.stage().script(ordinary);
        rig.stage().fault(fault);
        const talk = rig.open().feed().finish();
        const outcome = await talk.outcome(patienceMs);
        expect(kinds, `${outcome.kind}: ${outcome.detail}`).toContain(outcome.kind);
        if (detail !== undefined) expect(outcome.detail).toMatch(detail);
        await talk.quiet();
        expect(talk.gateway.counters()).toMatchObject({ chunksAfterTerminal: 0, outcomesAfterTerminal: 0, threw: 0 });
        rig.stage().fault("none");
        const next = rig.open().feed().finish();
        expect(await next.outcome(), "the call after the failure").toMatchObject({ kind: "success" });
      });
    }
  });
}
