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

export interface AuditOptions extends PlatformOptions {
  action?: string;
  limit: number;
  out?: string;
  anchor?: string;
}

export function registerAudit(cli: Command, done: Done): void {
  const command = cli
    .command("audit")
    .summary("the audit log: list, export, verify")
    .description("who did what, and who was refused what: a chain of records in which no edit stays hidden")
    .argument("<action>", "list, export, verify")
    .argument("[file]", "with verify: an exported file, checked without a platform")
    .option("--action <words>", "with list: only actions that hold these words, e.g. PublishPipeline or denied")
    .option("--limit <count>", "records listed at most", whole(1, 1_000), 50)
    .option("--out <file>", "with export: file to write; else standard output")
    .option("--anchor <id:digest>", "with verify: a record that was seen before and must still stand there")
    .addOption(registryOption())
    .addOption(jsonOption())
    .action(async (action: string, file: string | undefined, options: AuditOptions) =>
      done(await (await import("../actions/audit.ts")).audit(action, file, options)),
    );
  withCaller(command);
  examples(
    command,
    ["rspp audit list --tenant acme --action denied", ""],
    ["rspp audit export --out audit-2026-10.jsonl", "the whole chain, for keeping elsewhere"],
    ["rspp audit verify audit-2026-10.jsonl", "names each record that was edited, removed or inserted"],
  );
}
