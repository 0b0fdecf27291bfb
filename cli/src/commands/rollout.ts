import { type Command, InvalidArgumentError } from "commander";
import {
  type Done,
  examples,
  gathered,
  jsonOption,
  type PlatformOptions,
  registryOption,
  whole,
  withCaller,
} from "../options.ts";

export interface RolloutOptions extends PlatformOptions {
  stable?: number;
  canary?: number;
  percent?: number;
  for?: string[];
  stickyBy?: string;
  note: string;
  reason: string;
  overrideFreeze?: string;
}

function percent(text: string): number {
  const value = Number(text);
  if (!/^\d{1,3}(\.\d{1,2})?$/.test(text) || value > 100)
    throw new InvalidArgumentError("0 to 100 with at most two digits after the point is needed");
  return value;
}

export function registerRollout(cli: Command, done: Done): void {
  const command = cli
    .command("rollout")
    .summary("which sessions get which version: list, show, set, end")
    .description("which new sessions get which version of a pipeline: a canary by percentage, versions by tenant")
    .argument("<action>", "list, show, set, end")
    .argument("[pipeline]", "pipeline it decides for")
    .option("--stable <version>", "with set: version of all others", whole(1, 2_147_483_647))
    .option("--canary <version>", "with set: version of the canary", whole(1, 2_147_483_647))
    .option("--percent <share>", "with set: sessions that get the canary, in percent", percent)
    .option("--for <tenant=version...>", "with set: versions of tenants, for pipelines of *", gathered)
    .option("--sticky-by <variable>", "with set: session variable by which sessions keep their version")
    .option("--note <words>", "with set: what changed", "")
    .option("--reason <words>", "with end: why; kept in the audit", "")
    .option("--override-freeze <reason>", "with set: pass while the error budget is spent; kept in the audit")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (action: string, name: string | undefined, options: RolloutOptions) =>
      done(await (await import("../actions/rollout.ts")).rollout(action, name, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp rollout set voice-assistant --stable 1 --canary 2 --percent 10", ""],
    ["rspp rollout show voice-assistant", ""],
    ["rspp rollback voice-assistant --to 1", "all new sessions on version 1; ends the rollout"],
    ["rspp publish rollout.yaml", "the same from a file"],
  );
}
