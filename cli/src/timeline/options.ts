/** Where a recording is, as the options of a command tell it. */
import { type Command, Option } from "commander";
import { DATA_DEFAULT, jsonOption, type ReplayOptions, replayOption, withCaller } from "../options.ts";

export interface RecordingOptions extends ReplayOptions {
  local?: boolean;
  data?: string;
}

export interface Where {
  /** --replay or RSPP_REPLAY was written, so the service is meant. */
  readonly addressGiven: boolean;
  /** --tenant or RSPP_TENANT was written: on this machine, too, the session is that tenant's. */
  readonly tenantGiven: boolean;
}

/** --local, --data, --replay, tenant, token and --json, the same for every command about recordings. */
export function withRecording(command: Command): Command {
  command
    .option("--local", `the recording is on this machine, in ${DATA_DEFAULT}`)
    .addOption(new Option("--data <dir>", "recordings in another folder; means --local"))
    .addOption(replayOption())
    .addOption(jsonOption());
  return withCaller(command);
}

export function whereOf(command: Command): Where {
  const given = (name: string): boolean => ["cli", "env"].includes(command.getOptionValueSource(name) ?? "");
  return { addressGiven: given("replay"), tenantGiven: given("tenant") };
}
