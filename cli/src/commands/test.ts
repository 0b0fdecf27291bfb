import { type Command, Option } from "commander";
import { type Done, dataOption, examples, jsonOption, nodesOption } from "../options.ts";

export interface TestOptions {
  data: string;
  time?: "virtual" | "real";
  junit?: string;
  nodes?: string[];
  json?: boolean;
}

export function registerTest(cli: Command, done: Done): void {
  const command = cli
    .command("test")
    .summary("scripted callers against a pipeline, with what is expected of it")
    .description(
      "call pipelines by scripts (rspp/test/v1) and check what was said, heard, in which order, by which tools, how fast and with which evidence; every call is replayed as well",
    )
    .argument("<script...>", "test scripts, YAML or JSON")
    .addOption(new Option("--time <clock>", "instead of the script's own").choices(["virtual", "real"]))
    .option("--junit <file>", "write the results as JUnit XML")
    .addOption(nodesOption())
    .addOption(dataOption("where pipelines named NAME@VERSION are published"))
    .addOption(jsonOption())
    .action(async (scripts: string[], options: TestOptions) =>
      done(await (await import("../actions/test.ts")).test(scripts, options)),
    );
  examples(
    command,
    ["rspp test pipelines/tests/voice-assistant.yaml", "in virtual time: a call of a minute takes a moment"],
    ["rspp test tests/*.yaml --junit results.xml", "for CI: status 1 when an expectation does not hold"],
    ["rspp test agent-test.yaml --time real", "by the wall clock, for latencies of real providers"],
  );
}
