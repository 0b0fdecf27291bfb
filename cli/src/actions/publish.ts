/** `rspp publish`: an immutable version of a pipeline (F-015, F-092). */
import { userInfo } from "node:os";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { PublishOptions } from "../commands/publish.ts";
import { CommandError, EXIT_INPUT, EXIT_OK } from "../errors.ts";
import { catalogueFrom } from "../node-packages.ts";
import { createPrinter } from "../output/printer.ts";
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
  selfContained,
  tellFindings,
} from "../spec-file.ts";

export async function publishSpec(path: string, options: PublishOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const written = await readSpecFile(path);
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
  const { version, unchanged, warnings } = await registry.ask((client) =>
    client.publishPipeline({
      tenantId: options.tenant,
      version: options.as ?? 0,
      note: options.note,
      source: new TextEncoder().encode(file.source),
      sourceFormat: file.format,
      author: options.author ?? userName(),
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
  printer.data({ ok: true, unchanged, ...data, warnings: findings.map(findingData) });
  const word = unchanged ? paint("dim", "unchanged") : paint("green", "published");
  printer.line(`${word} ${paint("bold", data.pipeline)}  sha256 ${data.digest.slice(0, 12)}, by ${data.author}`);
  if (!unchanged && String(version.version) !== checked.compiled.version)
    printer.line(
      paint("dim", `the file calls itself version ${checked.compiled.version}; the registry counts its own`),
    );
  printer.line(paint("dim", `next: rspp talk ${data.pipeline} --wav FILE`));
  return EXIT_OK;
}

function userName(): string {
  try {
    return userInfo().username.slice(0, 128) || "unknown";
  } catch {
    // A uid without a name, as in containers.
    return "unknown";
  }
}
