import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import { compileSpec } from "@rspp/spec/compile-spec";
import { parseSpec } from "@rspp/spec/parse-spec";
import type { SpecProblem } from "@rspp/spec/problem";
import type { CheckedSpec, SpecFinding } from "./ports.ts";

/**
 * Checks a pipeline's source and normalises it: what was written, without comments, layout and order of fields. Two texts
 * of one meaning have the same bytes, so that publishing either again changes nothing (F-015). JSON is YAML.
 */
export function checkPipelineSource(source: string, fileName: string): Result<CheckedSpec, SpecFinding[]> {
  const parsed = parseSpec(source, fileName);
  if (!parsed.ok) return err(parsed.error.map(findingOf));
  // Node packages are pinned by name and version and live with the runtimes: what they declare is checked there (F-121).
  const foreign = parsed.value.nodes.some(({ kind }) => kind === "custom");
  const compiled = foreign ? parsed : compileSpec(parsed.value);
  if (!compiled.ok) return err(compiled.error.map(findingOf));
  const { origin, ...written } = parsed.value;
  const document = { format: "rspp/pipeline-spec/v1", template: origin.template, spec: written };
  return ok({ name: written.name, normalised: new TextEncoder().encode(canonicalJson(document)), warnings: [] });
}

function findingOf({ path, line, column, message, remedy }: SpecProblem): SpecFinding {
  return { severity: "error", path, line, column, message, remedy };
}
