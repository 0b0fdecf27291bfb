/** `rspp lint`: checks a spec on this machine, without a platform. */
import { explainRows, explainSpec } from "@rspp/spec/explain-spec";
import type { LintOptions } from "../commands/lint.ts";
import { EXIT_FAILED, EXIT_INPUT, EXIT_OK } from "../errors.ts";
import { adviceOn } from "../lint-advice.ts";
import { createPrinter } from "../output/printer.ts";
import { countWords } from "../output/words.ts";
import { asErrors, type CheckedFile, checkFile, findingData, readSpecFile, tellFindings } from "../spec-file.ts";

/** Errors are status 2; warnings alone are status 0, or 1 with --strict. */
export async function lint(
  path: string,
  { explain = false, strict = false, json = false }: LintOptions,
): Promise<number> {
  const printer = createPrinter(json);
  const file = await readSpecFile(path);
  const checked = checkFile(file);
  const findings = checked.ok ? adviceOn(checked.spec) : asErrors(checked.problems);
  if (findings.length > 0) printer.note(tellFindings(findings, file.source));
  const failed = !checked.ok || (strict && findings.length > 0);
  printer.data({
    ok: !failed,
    file: path,
    strict,
    ...pipelineData(checked),
    findings: findings.map(findingData),
    ...(explain && checked.ok ? { values: explainRows(checked.compiled) } : {}),
  });
  if (!checked.ok) return EXIT_INPUT;
  const { compiled } = checked;
  if (explain) printer.line(explainSpec(compiled));
  const warned = findings.length === 0 ? "" : `, ${countWords(findings.length, "warning")}`;
  if (failed) printer.note(`\n${path}: ${countWords(findings.length, "warning")} (--strict: warnings fail)`);
  else if (!explain)
    printer.line(`${path}: ok (${compiled.name}@${compiled.version}, ${compiled.fingerprint.slice(0, 12)}${warned})`);
  return failed ? EXIT_FAILED : EXIT_OK;
}

function pipelineData(checked: CheckedFile): Record<string, string> {
  if (!checked.ok) return {};
  const { name, version, fingerprint } = checked.compiled;
  return { pipeline: `${name}@${version}`, fingerprint };
}
