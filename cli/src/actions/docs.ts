/** `rspp docs`: the reference, generated from the contracts and the spec's schema (F-129). */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SCHEMA_VERSION_MAX } from "@rspp/wire/envelope";
import type { Command } from "commander";
import { contractPage, pageOf } from "../docs/contract-pages.ts";
import { readContracts } from "../docs/contracts.ts";
import { commandsPage, errorsPage } from "../docs/other-pages.ts";
import { specPage } from "../docs/spec-page.ts";
import { EXIT_OK, InputError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { countWords } from "../output/words.ts";

export async function docs(cli: Command, { out, json = false }: { out: string; json?: boolean }): Promise<number> {
  const pages = referencePages(cli);
  try {
    await mkdir(out, { recursive: true });
    for (const [name, text] of pages)
      await writeFile(join(out, name), `${text.replace(/\n{3,}/g, "\n\n").trimEnd()}\n`);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(`--out ${out}: cannot be written (${code})\n   help: name a folder you may write to`);
  }
  const printer = createPrinter(json);
  printer.data({ out, pages: [...pages.keys()], schema_version: SCHEMA_VERSION_MAX, version: cli.version() });
  printer.line(`${countWords(pages.size, "page")} in ${out}; begin with ${join(out, "index.md")}`);
  return EXIT_OK;
}

/** File name to text. */
export function referencePages(cli: Command): ReadonlyMap<string, string> {
  const contracts = readContracts();
  const version = `Version ${cli.version()} of RSPP, schema version ${SCHEMA_VERSION_MAX}, spec schema \`rspp/pipeline/v1\`.`;
  const reasons = contracts.enums.get("rspp.common.v1.ErrorReason")?.values ?? [];
  const pages = new Map<string, string>();
  const packages = [...contracts.packages.values()];
  const rows = packages.map(({ name, about }) => `- [${name}](${pageOf(name)}): ${about[0] ?? ""}`);
  const index = [
    "# RSPP reference",
    "",
    version,
    "",
    "- [PipelineSpec](pipeline-spec.md): what a pipeline's file may say",
    "- [Commands](commands.md): `rspp`",
    "- [Errors](errors.md): every reason, and what to do",
    "",
    "## Contracts",
    "",
    ...rows,
  ];
  pages.set("index.md", index.join("\n"));
  pages.set("pipeline-spec.md", specPage(version));
  pages.set("commands.md", commandsPage(cli, version));
  pages.set("errors.md", errorsPage(version, new Map(reasons.map(({ name, about }) => [name, about]))));
  for (const pack of packages) pages.set(pageOf(pack.name), contractPage(pack, contracts, version));
  return pages;
}
