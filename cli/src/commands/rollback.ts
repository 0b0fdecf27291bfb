import { type Command, Option } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

/** As the contracts call them. */
export const artifactKinds = [
  "pipeline",
  "policy",
  "rollout",
  "module",
  "node_package",
  "provider_config",
  "tenant_config",
] as const;

export interface RollbackOptions extends PlatformOptions {
  kind: (typeof artifactKinds)[number];
  to?: number;
  reason: string;
  withdraw?: boolean;
}

export function registerRollback(cli: Command, done: Done): void {
  const command = cli
    .command("rollback")
    .summary("put an older version in force again")
    .description(
      "put an older version in force again; a pipeline's rollout is withdrawn with it. Sessions under way keep theirs",
    )
    .argument("<name>", "pipeline, or artifact of --kind")
    .addOption(new Option("--kind <kind>", "what is rolled back").choices(artifactKinds).default("pipeline"))
    .option("--to <version>", "version to put in force (default: the one before)", whole(1, 2_147_483_647))
    .option("--withdraw", "put none in force: what is inherited from the tenant * holds, or nothing")
    .option("--reason <words>", "why; kept in the audit", "")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (name: string, options: RollbackOptions) =>
      done(await (await import("../actions/rollback.ts")).rollback(name, options)),
    );
  withCaller(command);
  examples(
    command,
    ['rspp rollback voice-assistant --to 1 --reason "it stutters"', ""],
    ["rspp rollback default --kind policy", "the version before, without touching the pipeline"],
  );
}
