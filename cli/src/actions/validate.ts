/** `rspp validate`: what the registry, which publishes, says of a spec. */
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { adviceOn } from "@rspp/spec/advice";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import type { ValidateOptions } from "../commands/validate.ts";
import { EXIT_INPUT, EXIT_OK } from "../errors.ts";
import { catalogueFrom } from "../node-packages.ts";
import { createPrinter } from "../output/printer.ts";
import { countWords, hexOf } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";
import {
  asErrors,
  asWarnings,
  checkFile,
  findingData,
  findingsOfWire,
  readSpecFile,
  refuseSecrets,
  type SpecFile,
  type SpecFinding,
  selfContained,
  tellFindings,
} from "../spec-file.ts";

interface Verdict {
  findings: readonly SpecFinding[];
  /** SHA-256 of the normalised spec; "" where it was not made. */
  digest: string;
  by: string;
}

export async function validate(path: string, options: ValidateOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const strict = options.strict ?? false;
  const file = await readSpecFile(path);
  const { findings, digest, by } = options.offline
    ? offline(file, await catalogueFrom(options.nodes))
    : await remote(file, options, strict);
  const ok = findings.every(({ severity }) => severity === "warning" && !strict);
  if (findings.length > 0) printer.note(tellFindings(findings, file.source));
  printer.data({ ok, file: path, strict, by, digest, findings: findings.map(findingData) });
  const found = findings.length === 0 ? "" : `, ${countWords(findings.length, "warning")}`;
  if (ok)
    printer.line(`${path}: valid${digest === "" ? "" : ` (sha256 ${digest.slice(0, 12)}${found})`}, checked by ${by}`);
  else printer.note(`\n${path}: ${countWords(findings.length, "problem")}, checked by ${by}`);
  return ok ? EXIT_OK : EXIT_INPUT;
}

function offline(file: SpecFile, options: SpecOptions): Verdict {
  const checked = checkFile(file, [], options);
  const findings = checked.ok ? asWarnings(adviceOn(checked.spec)) : asErrors(checked.problems);
  return { findings, digest: "", by: "this machine (--offline)" };
}

async function remote(written: SpecFile, options: ValidateOptions, strict: boolean): Promise<Verdict> {
  const checked = checkFile(written, [], await catalogueFrom(options.nodes));
  refuseSecrets(checked, written);
  const file = selfContained(written, checked);
  const registry = connectTo("registry", options.registry, RegistryService, options);
  const answer = await registry.ask((client) =>
    client.validatePipeline({ strict, source: new TextEncoder().encode(file.source), sourceFormat: file.format }),
  );
  const findings = findingsOfWire(answer.findings, file);
  return { findings, digest: hexOf(answer.digest), by: `the registry at ${registry.url}` };
}
