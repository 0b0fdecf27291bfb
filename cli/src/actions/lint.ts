/** `rspp lint`: checks a spec, a module, a policy or another document on this machine, without a platform. */
import { ok, type Result } from "@rspp/base/result";
import { adviceOn } from "@rspp/spec/advice";
import { breakingProblems } from "@rspp/spec/breaking";
import { type DocumentKind, documentKind } from "@rspp/spec/document-kind";
import { explainRows, explainSpec } from "@rspp/spec/explain-spec";
import { parseOverrides } from "@rspp/spec/overrides";
import { parseModule } from "@rspp/spec/parse-module";
import { formatProblems, type SpecProblem } from "@rspp/spec/problem";
import { parsePublished } from "@rspp/spec/published/documents";
import type { PipelineSpec } from "@rspp/spec/spec";
import { parseTestScript } from "@rspp/spec/test-script/script";
import type { LintOptions } from "../commands/lint.ts";
import { EXIT_FAILED, EXIT_INPUT, EXIT_OK, InputError } from "../errors.ts";
import { modulesBeside } from "../module-files.ts";
import { catalogueFrom } from "../node-packages.ts";
import { createPrinter } from "../output/printer.ts";
import { countWords } from "../output/words.ts";
import {
  asErrors,
  asWarnings,
  type CheckedFile,
  checkFile,
  findingData,
  readLayers,
  readSpecFile,
  type SpecFile,
  type SpecFinding,
  tellFindings,
} from "../spec-file.ts";

/** Errors are status 2; warnings alone are status 0, or 1 with --strict. */
export async function lint(path: string, options: LintOptions): Promise<number> {
  const file = await readSpecFile(path);
  const kind = documentKind(file.source);
  return kind === "pipeline" ? lintSpec(file, options) : lintPart(file, kind, options);
}

async function lintSpec(file: SpecFile, options: LintOptions): Promise<number> {
  const { explain = false, strict = false, json = false, against, layer = [], nodes } = options;
  const { path } = file;
  const printer = createPrinter(json);
  const checked = checkFile(file, await readLayers(layer), await catalogueFrom(nodes));
  const findings = checked.ok ? await findingsOn(checked.spec, against) : asErrors(checked.problems);
  if (findings.length > 0) printer.note(tellFindings(findings, file.source));
  const broken = findings.some(({ severity }) => severity === "error");
  const failed = broken || (strict && findings.length > 0);
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
  if (failed && !broken) printer.note(`\n${path}: ${countWords(findings.length, "warning")} (--strict: warnings fail)`);
  else if (!explain && !broken)
    printer.line(`${path}: ok (${compiled.name}@${compiled.version}, ${compiled.fingerprint.slice(0, 12)}${warned})`);
  if (broken) return EXIT_INPUT;
  return failed ? EXIT_FAILED : EXIT_OK;
}

/** Advice, and what breaks an older version of the spec (NF-010). */
async function findingsOn(spec: PipelineSpec, against: string | undefined): Promise<SpecFinding[]> {
  const advice = asWarnings(adviceOn(spec));
  if (against === undefined) return advice;
  const old = await readSpecFile(against);
  const checked = checkFile(old);
  if (!checked.ok) throw new InputError(formatProblems(checked.problems, old.source));
  return [...asErrors(breakingProblems(checked.spec, spec, against)), ...advice];
}

/** A document of another kind than a pipeline, by itself: there is no advice on any. */
function lintPart(
  file: SpecFile,
  kind: Exclude<DocumentKind, "pipeline">,
  { strict = false, json = false }: LintOptions,
): number {
  const { path, source } = file;
  const printer = createPrinter(json);
  const read = checkPart(file, kind);
  const findings = read.ok ? [] : asErrors(read.error);
  if (findings.length > 0) printer.note(tellFindings(findings, source));
  printer.data({ ok: read.ok, file: path, strict, kind, findings: findings.map(findingData) });
  if (!read.ok) return EXIT_INPUT;
  printer.line(`${path}: ok (${read.value})`);
  return EXIT_OK;
}

function checkPart({ source, path }: SpecFile, kind: Exclude<DocumentKind, "pipeline">): Result<string, SpecProblem[]> {
  if (kind === "module") {
    const read = parseModule(source, path, modulesBeside(path));
    return read.ok ? ok(`module ${read.value.use}`) : read;
  }
  if (kind === "overrides") {
    const read = parseOverrides(source, path);
    return read.ok ? ok(`${read.value.layer} ${read.value.name}`) : read;
  }
  if (kind === "test") {
    const read = parseTestScript(source, path);
    return read.ok ? ok(`test of ${read.value.pipeline}, ${countWords(read.value.steps.length, "step")}`) : read;
  }
  const read = parsePublished(source, path);
  return read.ok ? ok(`${kind.replace("_", " ")} ${read.value.name}`) : read;
}

function pipelineData(checked: CheckedFile): Record<string, string> {
  if (!checked.ok) return {};
  const { name, version, fingerprint } = checked.compiled;
  return { pipeline: `${name}@${version}`, fingerprint };
}
