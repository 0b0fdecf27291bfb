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
  keepActive?: boolean;
  overrideFreeze?: string;
}

const versionMax = 4_294_967_295;

export function registerPublish(cli: Command, done: Done): void {
  const command = cli
    .command("publish")
    .summary("publish a pipeline, policy, rollout or other document as an immutable version")
    .description(
      "publish a document to the registry as an immutable version and put it in force: a pipeline, policy, rollout, " +
        "configuration of a tenant or of providers, module or package of nodes, as its schema line says",
    )
    .argument("<file>", "PipelineSpec or another document, YAML or JSON; or the folder of a package of nodes")
    .option("--as <version>", "version to publish as, instead of the next one", whole(1, versionMax))
    .option("--note <words>", "what changed, for those who read the list", "")
    .addOption(new Option("--author <name>", "who publishes").env("RSPP_AUTHOR").default(undefined, "your user name"))
    .option("--keep-active", "publish, and leave the version that is in force as it is")
    .option("--override-freeze <reason>", "pass a rollout while the error budget is spent; kept in the audit")
    .addOption(nodesOption())
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (file: string, options: PublishOptions) =>
      done(await (await import("../actions/publish.ts")).publishFile(file, options)),
    );
  withCaller(command);
  examples(
    command,
    ['rspp publish agent.yaml --note "shorter greeting"', "the same content again changes nothing"],
    ["rspp publish agent.yaml --as 7", "refused when 7 stands there with another content"],
    ["rspp publish agent.yaml --keep-active", "for a rollout to decide who gets it"],
    ['rspp publish limits.yaml --tenant "*"', "quotas every tenant inherits"],
    ["rspp publish pipelines/nodes/gain", "pipelines published after it run these bytes of gain@1.0.0 or none"],
  );
}
