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

export interface SchemaOptions extends PlatformOptions {
  schemaVersion: number;
  out?: string;
  check?: string;
  schema?: string;
  message: string;
}

export function registerSchema(cli: Command, done: Done): void {
  const command = cli
    .command("schema")
    .summary("save the served contracts; check a recording with them")
    .description(
      "save the contracts of the platform as a FileDescriptorSet; --check validates records against such a file, without a platform",
    )
    .option("--schema-version <number>", "version; 0: the newest", whole(0, 1_000), 0)
    .option("--out <file>", "where the descriptors go (default: rspp-schema-vN.binpb)")
    .option("--check <file>", "records, one JSON object a line, as `rspp timeline --export` writes them")
    .option("--schema <file>", "descriptors to check them with")
    .option("--message <name>", "message that each line is", "rspp.replay.v1.TimelineRecord")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (options: SchemaOptions) => done(await (await import("../actions/schema.ts")).schema(options)));
  withCaller(command);
  examples(
    command,
    ["rspp schema --out rspp.binpb", ""],
    ["rspp schema --check session.jsonl --schema rspp.binpb", "offline"],
    ["buf build rspp.binpb -o -#format=json", "any tool that reads descriptors"],
  );
}
