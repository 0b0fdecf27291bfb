/** `rspp pipelines`: what is published. */
import type { PublishedVersion } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { PipelinesOptions } from "../commands/pipelines.ts";
import { EXIT_OK } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint, printable, shortened } from "../output/style.ts";
import { facts, table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";
import { pipelineName, versionData } from "../registry-view.ts";

type Registry = Peer<typeof RegistryService>;

export async function pipelines(name: string | undefined, options: PipelinesOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const wanted = name === undefined ? "" : pipelineName(name).name;
  const registry = connectTo("registry", options.registry, RegistryService, options);
  if (options.show !== undefined) await show(registry, options.show, options.tenant, printer);
  else await list(registry, wanted, options, printer);
  return EXIT_OK;
}

async function list(registry: Registry, name: string, options: PipelinesOptions, printer: Printer): Promise<void> {
  const { tenant: tenantId, limit: size } = options;
  const { versions, nextPageToken } = await registry.ask((client) =>
    client.listPipelines({ tenantId, name, page: { size } }),
  );
  printer.data({ pipelines: versions.map(versionData), more: nextPageToken !== "" });
  if (versions.length === 0) {
    printer.line(name === "" ? "nothing is published yet" : `no version of ${name} is published`);
    printer.line(paint("dim", "publish one: rspp publish pipelines/specs/voice-assistant.yaml"));
    return;
  }
  const columns = ["PIPELINE", "PUBLISHED", "AUTHOR", "SHA256", "NOTE"].map((head) => ({ head }));
  printer.lines(table(columns, versions.map(row)));
  if (nextPageToken !== "") printer.note(`more are published: raise --limit (${size})`);
}

function row(published: PublishedVersion): string[] {
  const { pipeline, published_wall_ms, author, digest, note, deprecated } = versionData(published);
  return [
    paint("bold", pipeline),
    timeWords(published_wall_ms),
    shortened(printable(author), 20),
    digest.slice(0, 12),
    `${deprecated ? paint("yellow", "deprecated ") : ""}${shortened(printable(note), 60)}`,
  ];
}

async function show(registry: Registry, wanted: string, tenantId: string, printer: Printer): Promise<void> {
  const {
    version: published,
    source,
    sourceFormat,
  } = await registry.ask((client) => client.getPipeline({ tenantId, ...pipelineName(wanted) }));
  if (published === undefined) return;
  const data = versionData(published);
  const text = new TextDecoder().decode(source);
  printer.data({ ...data, source_format: sourceFormat, source: text });
  if (printer.json) return;
  printer.note(
    facts([
      ["pipeline", data.pipeline],
      ["published", `${timeWords(data.published_wall_ms)} by ${printable(data.author)}`],
      ["sha256", data.digest],
      ["note", printable(data.note)],
    ]).join("\n"),
  );
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}
