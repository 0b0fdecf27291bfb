import type { Command } from "commander";
import { type Done, dataOption, examples, jsonOption } from "../options.ts";

export interface StoreOptions {
  readonly data: string;
  readonly databaseUrl?: string;
  readonly json?: boolean;
}

export function registerStore(cli: Command, done: Done): void {
  const command = cli
    .command("store")
    .summary("the platform's database: status, backup, restore, migrate")
    .description(
      "the control plane's database, without a platform that runs: that of --database-url or DATABASE_URL, else the " +
        "embedded one of --data, which no platform may be using",
    )
    .argument("<action>", "status, backup, restore, migrate")
    .argument("[file]", "with backup and restore: the file")
    .option("--database-url <reference>", "where the address of the database stands: env:NAME or file:/path")
    .addOption(dataOption("of the embedded database"))
    .addOption(jsonOption())
    .action(async (action: string, file: string | undefined, options: StoreOptions) =>
      done(await (await import("../actions/store.ts")).store(action, file, options)),
    );
  examples(
    command,
    ["rspp store backup control-plane.rspp-backup", "beside running services, as of one moment"],
    ["rspp store restore control-plane.rspp-backup", "into an empty database; epochs go on under a higher incarnation"],
    ["rspp store status --json", ""],
  );
}
