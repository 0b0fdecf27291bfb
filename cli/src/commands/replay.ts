/** `rspp replay`: re-executes a recorded session and compares (kernel.md §12). */
import { type Breakpoint, parseBreakpoint } from "@rspp/replay/engine/replay-run";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Done, examples, gathered, nodesOption, registryOption, whole } from "../options.ts";
import type { AgainstOptions } from "../replay/against.ts";
import { isFile, type JudgeOptions, withJudge } from "../replay/judge-options.ts";
import { type RecordingOptions, whereOf, withRecording } from "../timeline/options.ts";

export interface EngineOptions extends RecordingOptions, JudgeOptions, AgainstOptions {
  mode?: "recorded" | "resimulate";
  until?: Breakpoint[];
  step?: number;
  cursor?: string;
}

/** Any of these asks for more than whether the replay is identical. */
const ENGINE = [
  "mode",
  "against",
  "until",
  "step",
  "cursor",
  "expect",
  "report",
  "toleranceMs",
  "maxLatencyRegressionMs",
];

export function registerReplay(cli: Command, done: Done): void {
  const command = cli
    .command("replay")
    .summary("re-execute a recorded session and compare")
    .description(
      "re-execute a recorded session and compare every effect, or run it again by another pipeline version; recordings on this machine are looked for first, then those of the replay service",
    )
    .argument("<session>", "session id, or a file of exported records")
    .addOption(
      new Option("--mode <mode>", "recorded provider output, or emissions recomputed where they can be").choices([
        "recorded",
        "resimulate",
      ]),
    )
    .option("--against <pipeline>", "run it by another version: a spec file, or name@version of the registry")
    .addOption(
      new Option("--available <provider...>", "with --against: the providers that can serve; default all").argParser(
        gathered,
      ),
    )
    .addOption(
      new Option(
        "--until <at...>",
        "stop at turn=N, kind=NAME, node=ID, input=N or step=N; several by commas",
      ).argParser(breakpoints),
    )
    .addOption(new Option("--step <n>", "take so many steps and stop").argParser(whole(1, 1_000_000_000)))
    .option("--cursor <file>", "go on where an earlier stop left this file, and write it at the next one")
    .addOption(nodesOption())
    .addOption(registryOption())
    .action(async (session: string, options: EngineOptions) => {
      const engine = isFile(session) || ENGINE.some((name) => name in options);
      if (!engine) return done(await (await import("../actions/replay.ts")).replay(session, options, whereOf(command)));
      const { replayWithEngine } = await import("../actions/replay-engine.ts");
      done(await replayWithEngine(session, options, whereOf(command)));
    });
  withJudge(command);
  withRecording(command);
  examples(
    command,
    ["rspp replay SESSION", "status 0 identical, 1 diverged or damaged"],
    ["rspp replay SESSION --replay http://127.0.0.1:7105", "from the platform's replay service"],
    ["rspp replay SESSION --against agent.yaml --expect expected.yaml --report diff.html", "another version"],
    ["rspp replay SESSION --until turn=2,kind=barge_in --cursor at.json", "stop, look, and go on later"],
  );
}

function breakpoints(text: string, before: Breakpoint[] | undefined): Breakpoint[] {
  const found = parseBreakpoint(text);
  if (found === null)
    throw new InvalidArgumentError("write turn=N, kind=NAME, node=ID, input=N or step=N, several by commas");
  return [...(before ?? []), found];
}
