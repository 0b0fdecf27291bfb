import { type Command, InvalidArgumentError, Option } from "commander";
import { type Done, examples, jsonOption, type PlatformOptions, registryOption, withCaller } from "../options.ts";

export interface DrainOptions extends PlatformOptions {
  migrate?: boolean;
  within: number;
  reason: string;
}

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

/** `30s`, `10m`, `2h` in milliseconds. */
function duration(text: string): number {
  const [, count, unit = ""] = /^(\d{1,5})([smh])$/.exec(text) ?? [];
  const ms = Number(count) * (unitsMs[unit] ?? Number.NaN);
  if (ms >= 1_000 && ms <= 86_400_000) return ms;
  throw new InvalidArgumentError("one second to 24 hours are possible, written as e.g. 30s, 10m or 2h");
}

export function registerDrain(cli: Command, done: Done): void {
  const command = cli
    .command("drain")
    .summary("an instance takes no new sessions; without a name: the instances there are")
    .description("an instance takes no new sessions and empties itself; without a name: the instances there are")
    .argument("[instance]", "id of a runtime or adapter")
    .option("--migrate", "its sessions move to other runtimes, instead of finishing there")
    .addOption(
      new Option("--within <time>", "time for it").argParser(duration).default(0, "no bound, e.g. 30s, 10m or 2h"),
    )
    .option("--reason <words>", "why; kept in the audit", "")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (instance: string | undefined, options: DrainOptions) =>
      done(await (await import("../actions/drain.ts")).drain(instance, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp drain", "the instances and how full they are"],
    ['rspp drain runtime-1 --migrate --within 10m --reason "new kernel"', ""],
    ["rspp undrain runtime-1", ""],
  );
}

export function registerUndrain(cli: Command, done: Done): void {
  const command = cli
    .command("undrain")
    .summary("an instance may take sessions again")
    .description("an instance that was drained may take sessions again")
    .argument("<instance>", "id of a runtime or adapter")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (instance: string, options: PlatformOptions) =>
      done(await (await import("../actions/drain.ts")).undrain(instance, options)),
    );
  withCaller(command);
  examples(command, ["rspp undrain runtime-1", ""]);
}
