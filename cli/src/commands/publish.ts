import { type Command, Option } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  nodesOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface PublishOptions extends PlatformOptions {
  as?: number;
  note: string;
  author?: string;
  nodes?: string[];
}

const versionMax = 4_294_967_295;

export function registerPublish(cli: Command, done: Done): void {
  const command = cli
    .command("publish")
    .summary("publish a PipelineSpec as an immutable version")
    .description("publish a PipelineSpec to the registry as an immutable version")
    .argument("<spec>", "PipelineSpec, YAML or JSON")
    .option("--as <version>", "version to publish as, instead of the next one", whole(1, versionMax))
    .option("--note <words>", "what changed, for those who read the list", "")
    .addOption(new Option("--author <name>", "who publishes").env("RSPP_AUTHOR").default(undefined, "your user name"))
    .addOption(nodesOption())
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (spec: string, options: PublishOptions) =>
      done(await (await import("../actions/publish.ts")).publishSpec(spec, options)),
    );
  withCaller(command);
  examples(
    command,
    ['rspp publish agent.yaml --note "shorter greeting"', "the same content again changes nothing"],
    ["rspp publish agent.yaml --as 7", "refused when 7 stands there with another content"],
  );
}
