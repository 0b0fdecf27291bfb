import type { Command } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  nodesOption,
  type PlatformOptions,
  registryOption,
  withCaller,
} from "../options.ts";

export interface ValidateOptions extends PlatformOptions {
  strict?: boolean;
  offline?: boolean;
  nodes?: string[];
}

export function registerValidate(cli: Command, done: Done): void {
  const command = cli
    .command("validate")
    .summary("ask the registry about a PipelineSpec")
    .description("ask the registry whether it would publish a PipelineSpec; nothing is published")
    .argument("<spec>", "PipelineSpec, YAML or JSON")
    .option("--strict", "warnings are errors")
    .option("--offline", "compile on this machine instead")
    .addOption(nodesOption())
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (spec: string, options: ValidateOptions) =>
      done(await (await import("../actions/validate.ts")).validate(spec, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp validate agent.yaml", ""],
    ["rspp validate agent.yaml --offline --strict", "without a platform, warnings are errors"],
  );
}
