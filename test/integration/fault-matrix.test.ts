/**
 * F3 as a table: each kind of provider, each way it can fail, each way that a pipeline may have to go on. What must follow is
 * said by a few rules here, not by what was seen: the class of the failure in evidence, one terminal, an answer wherever one
 * was possible, and the provider that failed asked first again.
 */
import type { OutcomeKind } from "@rspp/kernel/input";
import { describe, expect, test } from "vitest";
import type { Fault } from "../fakes/fake.ts";
import { type Kind, playRow, type Response, type Row, responses } from "./fault-matrix-rig.ts";

const outcomes = {
  timeout_before: "timeout",
  timeout_midway: "timeout",
  unauthorized: "unauthorized",
  rate_limited: "overload",
  server_error: "error",
  disconnect: "disconnect",
  stall: "timeout",
  silent_audio: "empty",
  empty: "empty",
  garbage: "error",
} as const satisfies Partial<Record<Fault, OutcomeKind>>;
type Tried = keyof typeof outcomes;

/** It had begun to answer: what has reached the graph cannot be said again by another. */
const midway: ReadonlySet<Fault> = new Set(["timeout_midway", "disconnect", "stall"]);
/** Asked again, nothing would be otherwise. */
const final: ReadonlySet<Fault> = new Set(["unauthorized"]);

function expectedHeard(kind: Kind, fault: Tried, response: Response): readonly Row["heard"][] {
  // Partials that still stand are the caller's words when their recogniser is gone.
  if (kind === "stt" && (fault === "timeout_midway" || fault === "stall")) return ["all"];
  // A recogniser that hears nothing is believed.
  if (kind === "stt" && (fault === "empty" || fault === "silent_audio")) return ["no turn"];
  if (kind === "stt") return response === "switch" ? ["all"] : ["no turn"];
  if (response === "none") return midway.has(fault) ? ["nothing", "part"] : ["nothing"];
  if (response === "fallback" && kind === "llm") return ["all"];
  if (midway.has(fault)) return ["nothing", "part"];
  return response === "retry" && final.has(fault) ? ["nothing"] : ["all"];
}

function problemsOf(row: Row, fault: Tried): string[] {
  const { kind, response } = row;
  const found = [...row.problems];
  const heard = expectedHeard(kind, fault, response);
  if (!heard.includes(row.heard)) found.push(`heard ${row.heard}, not ${heard.join(" or ")}`);
  if (!row.after.startsWith(`first/${kind} success; heard all`)) found.push(`afterwards: ${row.after}`);
  if (row.heard !== "no turn" && row.evidence[0] !== `first/${kind} ${expectedOutcome(row, fault)}`)
    found.push(`evidence: ${row.evidence.join(", ")}`);
  const signalled = row.signals.includes("provider_error") || row.heard === "no turn" || kind === "stt";
  if (!signalled) found.push("no provider_error was told");
  if (row.heard === "all" && response === "switch" && kind !== "stt" && !row.signals.includes("provider_switch"))
    found.push("no provider_switch was told");
  return found;
}

/** A recogniser that is still awaited when its time is over is cut off by us. */
function expectedOutcome({ kind, evidence }: Row, fault: Tried): OutcomeKind {
  const cut =
    kind === "stt" && (midway.has(fault) || fault === "timeout_before") && evidence[0]?.endsWith("cancelled") === true;
  return cut ? "cancelled" : outcomes[fault];
}

for (const kind of ["stt", "llm", "tts"] as const) {
  describe(`F-046 F-047 F-059 F-131 F-133 F-160 faults of ${kind}, ways to go on`, () => {
    test("right outcome, right evidence, an answer where one was possible, the primary first again", {
      timeout: 120_000,
    }, async () => {
      const lines: string[] = [];
      const wrong: string[] = [];
      for (const fault of Object.keys(outcomes) as Tried[])
        for (const response of responses) {
          // A recogniser works before its turn: nothing stands in for it but another one.
          if (kind === "stt" && response === "fallback") continue;
          const row = await playRow(kind, fault, response);
          const where = `${kind} ${fault} ${response}`;
          lines.push(
            `${where.padEnd(32)} ${row.heard.padEnd(8)} ${row.evidence.join(", ")} | ${row.signals.join(" ")}`,
          );
          wrong.push(...problemsOf(row, fault).map((problem) => `${where}: ${problem}`));
        }
      process.stdout.write(`${lines.join("\n")}\n`);
      expect(wrong).toEqual([]);
    });
  });
}
