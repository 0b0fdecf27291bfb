import type { Command } from "commander";
import { type Done, examples, jsonOption } from "../options.ts";

export function registerDocs(cli: Command, done: Done): void {
  const command = cli
    .command("docs")
    .summary("write the reference as Markdown")
    .description("write the reference of contracts, PipelineSpec, errors and commands as Markdown, from their sources")
    .option("--out <dir>", "folder the pages go to; made when it is not there", "rspp-reference")
    .addOption(jsonOption())
    .action(async (options: { out: string; json?: boolean }) =>
      done(await (await import("../actions/docs.ts")).docs(cli, options)),
    );
  examples(command, ["rspp docs --out docs/reference", ""]);
}
