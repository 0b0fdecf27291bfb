/** Where a recording is, as the options of a command tell it. */
import { type Command, Option } from "commander";
import { DATA_DEFAULT, jsonOption, type ReplayOptions, replayOption, withCaller } from "../options.ts";

export interface RecordingOptions extends ReplayOptions {
  local?: boolean;
  data?: string;
  /** What the service's records are read for. */
  purpose?: string;
  /** Level up to which they are read; default all. */
  fidelity?: string;
}

/** What for; some tenants want to know. */
export const purposeOption = (): Option =>
  new Option("--purpose <word>", "what it is read for: in the audit log, and asked for by some tenants").env(
    "RSPP_PURPOSE",
  );

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
    .addOption(purposeOption())
    .addOption(
      new Option(
        "--fidelity <level>",
        "read up to this level alone, where the tenant lets the role see no more",
      ).choices(["L0", "L1", "L2"]),
    )
    .addOption(replayOption())
    .addOption(jsonOption());
  return withCaller(command);
}

export function whereOf(command: Command): Where {
  const given = (name: string): boolean => ["cli", "env"].includes(command.getOptionValueSource(name) ?? "");
  return { addressGiven: given("replay"), tenantGiven: given("tenant") };
}
