import type { Command } from "commander";
import { type Done, examples, jsonOption, nodesOption } from "../options.ts";

export interface LintOptions {
  explain?: boolean;
  strict?: boolean;
  against?: string;
  layer?: string[];
  nodes?: string[];
  json?: boolean;
}

export function registerLint(cli: Command, done: Done): void {
  const command = cli
    .command("lint")
    .summary("check a PipelineSpec on this machine")
    .description(
      "check a PipelineSpec, a module or a layer of configuration on this machine; --explain shows each resolved value and its source",
    )
    .argument("<spec>", "PipelineSpec, module or layer, YAML or JSON")
    .option("--explain", "print every resolved value with its source")
    .option("--strict", "warnings fail")
    .option("--layer <file...>", "layers of configuration to lay over the spec first (rspp/overrides/v1)")
    .option("--against <file>", "an older spec: what breaks it without a new MAJOR version is an error")
    .addOption(nodesOption())
    .addOption(jsonOption())
    .action(async (spec: string, options: LintOptions) =>
      done(await (await import("../actions/lint.ts")).lint(spec, options)),
    );
  examples(
    command,
    ["rspp lint agent.yaml", "every problem with file:line:column and what to do"],
    ["rspp lint agent.yaml --explain", "what runs, and where each value comes from"],
    ["rspp lint agent.yaml --strict --json", "for CI"],
    ["rspp lint agent.yaml --against released.yaml", "what publishing it would break, field by field"],
  );
}
