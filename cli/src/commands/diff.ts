import type { Command } from "commander";
import { type Done, examples } from "../options.ts";
import { type JudgeOptions, withJudge } from "../replay/judge-options.ts";
import { type RecordingOptions, whereOf, withRecording } from "../timeline/options.ts";

export interface DiffOptions extends RecordingOptions, JudgeOptions {}

export function registerDiff(cli: Command, done: Done): void {
  const command = cli
    .command("diff")
    .summary("compare two runs: outputs, timings, provider choices")
    .description(
      "compare two recorded runs turn by turn: plans, outcomes, order, authority, timing, provider choices and payloads; what was not declared as expected fails",
    )
    .argument("<a>", "session id, exported records or run timeline")
    .argument("<b>", "the other one")
    .action(async (a: string, b: string, options: DiffOptions) =>
      done(await (await import("../actions/diff.ts")).diff(a, b, options, whereOf(command))),
    );
  withJudge(command);
  withRecording(command);
  examples(
    command,
    ["rspp diff SESSION OTHER", "status 0: nothing that fails; 1: a difference that was not declared"],
    ["rspp diff before.jsonl after.jsonl --report diff.html", "both runs side by side"],
    ["rspp diff before.jsonl after.jsonl --expect expected.yaml --max-latency-regression-ms 100", "for CI"],
  );
}
