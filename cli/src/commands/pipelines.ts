import type { Command } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface PipelinesOptions extends PlatformOptions {
  show?: string;
  limit: number;
}

export function registerPipelines(cli: Command, done: Done): void {
  const command = cli
    .command("pipelines")
    .summary("list published versions, or show one")
    .description("list published versions, newest first; --show prints one as it was written")
    .argument("[name]", "all versions of one pipeline; without it the newest of each")
    .option("--show <name@version>", "print the source of a version; without @version the newest")
    .option("--limit <count>", "versions listed at most", whole(1, 1_000), 50)
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (name: string | undefined, options: PipelinesOptions) =>
      done(await (await import("../actions/pipelines.ts")).pipelines(name, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp pipelines", ""],
    ["rspp pipelines voice-assistant", "its versions"],
    ["rspp pipelines --show voice-assistant@1 > v1.yaml", "source to stdout, facts to stderr"],
  );
}
