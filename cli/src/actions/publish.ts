/** `rspp publish`: an immutable version of a pipeline (F-015, F-092). */
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKindSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { documentKind } from "@rspp/spec/document-kind";
import { type PublishedKind, parsePublished } from "@rspp/spec/published/documents";
import type { PublishOptions } from "../commands/publish.ts";
import { valueOfWord } from "../enum-words.ts";
import { CommandError, EXIT_INPUT, EXIT_OK, usageError } from "../errors.ts";
import { catalogueFrom, packagesIn } from "../node-packages.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { connectTo } from "../platform-client/connect.ts";
import { versionData } from "../registry-view.ts";
import {
  asErrors,
  checkFile,
  findingData,
  findingsOfWire,
  readSpecFile,
  refuseSecrets,
  type SpecFile,
  selfContained,
  tellFindings,
} from "../spec-file.ts";
import { userName } from "../user-name.ts";

/** What the file is, it says itself: a pipeline, or one of the other documents (F-102). */
export async function publishFile(path: string, options: PublishOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const packages = await packagesIn(path);
  if (packages !== null) return publishPackages(packages, options, printer);
  const written = await readSpecFile(path);
  const kind = documentKind(written.source);
  if (kind === "pipeline") return publishSpec(written, options, printer);
  if (kind === "overrides")
    throw usageError(`${path}: a layer of configuration is not published`, "give it to the commands that take --layer");
  if (kind === "test") throw usageError(`${path}: a test script is not published`, "run it with `rspp test`");
  return publishDocument(written, kind, options, printer);
}

/** Packages of nodes, one or more, are published by what they are and their digest; their bytes stay where they are (F-121). */
async function publishPackages(
  packages: readonly SpecFile[],
  options: PublishOptions,
  printer: Printer,
): Promise<number> {
  for (const one of packages) {
    const status = await publishDocument(one, "node_package", options, printer);
    if (status !== EXIT_OK) return status;
  }
  return EXIT_OK;
}

async function publishDocument(
  file: SpecFile,
  kind: PublishedKind,
  options: PublishOptions,
  printer: Printer,
): Promise<number> {
  const checked = parsePublished(file.source, file.path);
  if (!checked.ok) {
    const findings = asErrors(checked.error);
    printer.note(tellFindings(findings, file.source));
    printer.data({ ok: false, reason: "document_invalid", file: file.path, kind, findings: findings.map(findingData) });
    return EXIT_INPUT;
  }
  const registry = connectTo("registry", options.registry, ArtifactService, options);
  const { version, unchanged, activated, warnings } = await registry.ask((client) =>
    client.publishArtifact({
      tenantId: options.tenant,
      kind: valueOfWord(ArtifactKindSchema, kind),
      version: options.as ?? 0,
      note: options.note,
      source: new TextEncoder().encode(file.source),
      sourceFormat: file.format,
      author: options.author ?? userName(),
      keepActive: options.keepActive ?? false,
      overrideFreeze: options.overrideFreeze ?? "",
    }),
  );
  for (const { violation, remedy } of warnings) printer.note(`${violation?.message ?? "a warning"}: ${remedy}`);
  const data = version === undefined ? undefined : versionData(version);
  const { pipeline: artifact = "", ...rest } = data ?? {};
  const told = warnings.map(({ violation }) => violation?.message ?? "");
  printer.data({ ok: true, unchanged, activated, kind, artifact, ...rest, warnings: told });
  const word = unchanged ? paint("dim", "unchanged") : paint("green", "published");
  const force = activated ? ", in force" : "";
  printer.line(`${word} ${kind.replace("_", " ")} ${paint("bold", artifact)}${force}`);
  return EXIT_OK;
}

async function publishSpec(written: SpecFile, options: PublishOptions, printer: Printer): Promise<number> {
  const { path } = written;
  const checked = checkFile(written, [], await catalogueFrom(options.nodes));
  refuseSecrets(checked, written);
  const file = selfContained(written, checked);
  if (!checked.ok) {
    const findings = asErrors(checked.problems);
    printer.note(tellFindings(findings, file.source));
    printer.data({ ok: false, reason: "pipeline_invalid", file: path, findings: findings.map(findingData) });
    return EXIT_INPUT;
  }
  const registry = connectTo("registry", options.registry, RegistryService, options);
  const { version, unchanged, warnings, activated } = await registry.ask((client) =>
    client.publishPipeline({
      tenantId: options.tenant,
      version: options.as ?? 0,
      note: options.note,
      source: new TextEncoder().encode(file.source),
      sourceFormat: file.format,
      author: options.author ?? userName(),
      keepActive: options.keepActive ?? false,
    }),
  );
  if (version === undefined)
    throw new CommandError({
      status: EXIT_INPUT,
      reason: "unpublished",
      what: `the registry at ${registry.url} published nothing`,
      remedy: "see its log",
    });
  const findings = findingsOfWire(warnings, file);
  if (findings.length > 0) printer.note(tellFindings(findings, file.source));
  const data = versionData(version);
  printer.data({ ok: true, unchanged, activated, ...data, warnings: findings.map(findingData) });
  const word = unchanged ? paint("dim", "unchanged") : paint("green", "published");
  printer.line(`${word} ${paint("bold", data.pipeline)}  sha256 ${data.digest.slice(0, 12)}, by ${data.author}`);
  if (!unchanged && String(version.version) !== checked.compiled.version)
    printer.line(
      paint("dim", `the file calls itself version ${checked.compiled.version}; the registry counts its own`),
    );
  if (!unchanged && !activated)
    printer.line(
      paint(
        "dim",
        `new sessions do not get it yet: rspp rollout set ${data.name} gives it to some, rspp rollback ${data.name} --to ${version.version} to all`,
      ),
    );
  printer.line(paint("dim", `next: rspp talk ${data.pipeline} --wav FILE`));
  return EXIT_OK;
}
