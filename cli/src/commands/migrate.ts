import { type Command, Option } from "commander";
import {
  type Done,
  examples,
  jsonOption,
  type PlatformOptions,
  registryOption,
  runtimeOption,
  whole,
  withCaller,
} from "../options.ts";

export interface MigrateOptions extends PlatformOptions {
  runtime: string;
  to?: string;
  deadline: number;
  reason: string;
}

export function registerMigrate(cli: Command, done: Done): void {
  const command = cli
    .command("migrate")
    .summary("have a session go on on another runtime")
    .description("have a session go on on another runtime, at its next turn boundary: the caller hears nothing of it")
    .argument("<session>", "session id")
    .addOption(
      new Option("--to <instance>", "runtime instance to go to; asks the session's own runtime, named by --runtime"),
    )
    .option("--deadline <ms>", "with --to: time for the open turn, which is cut then", whole(0, 600_000), 10_000)
    .option("--reason <words>", "why, for the audit", "operator")
    .addOption(registryOption())
    .addOption(runtimeOption())
    .addOption(jsonOption())
    .action(async (session: string, options: MigrateOptions) =>
      done(await (await import("../actions/migrate.ts")).migrate(session, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp migrate SESSION", "to whichever runtime the registry chooses"],
    ["rspp migrate SESSION --to runtime-2 --runtime http://127.0.0.1:7103", ""],
  );
}
