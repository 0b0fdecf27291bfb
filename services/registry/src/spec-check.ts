import { canonicalJson } from "@rspp/base/canonical-json";
import { err, ok, type Result } from "@rspp/base/result";
import { adviceOn } from "@rspp/spec/advice";
import { breakingProblems, type Contract, majorOf } from "@rspp/spec/breaking";
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
  if (!parsed.ok) return err(parsed.error.map((problem) => findingOf(problem)));
  // Node packages are pinned by name and version and live with the runtimes: what they declare is checked there (F-121).
  const foreign = parsed.value.nodes.some(({ kind }) => kind === "custom");
  const compiled = foreign ? parsed : compileSpec(parsed.value);
  if (!compiled.ok) return err(compiled.error.map((problem) => findingOf(problem)));
  const spec = parsed.value;
  const { origin, ...written } = spec;
  const document = { format: "rspp/pipeline-spec/v1", template: origin.template, spec: written };
  const named = spec.nodes.flatMap((node, i) => {
    return node.kind === "custom" && node.package !== undefined
      ? [{ name: node.package, path: `nodes[${i}].package` }]
      : [];
  });
  return ok({
    name: written.name,
    packages: named,
    normalised: (packages = {}) =>
      new TextEncoder().encode(
        canonicalJson(Object.keys(packages).length === 0 ? document : { ...document, packages }),
      ),
    warnings: adviceOn(spec).map((advice) => findingOf(advice, "warning")),
    major: majorOf(written.version),
    breakingSince: (content, from) => {
      const old = contractOf(content);
      return old === null ? [] : breakingProblems(old, spec, from).map((problem) => findingOf(problem));
    },
  });
}

/** What a published version promised; null for content of a form that this release does not know. */
export function contractOf(content: Uint8Array): Contract | null {
  try {
    const { format, spec } = JSON.parse(new TextDecoder().decode(content)) as { format?: unknown; spec?: Contract };
    return format === "rspp/pipeline-spec/v1" && Array.isArray(spec?.nodes) ? spec : null;
  } catch {
    return null;
  }
}

/** Digests of packages that were pinned when it was published (F-121). */
export function packagesOf(content: Uint8Array): Readonly<Record<string, string>> {
  try {
    const { packages } = JSON.parse(new TextDecoder().decode(content)) as { packages?: Record<string, string> };
    return packages ?? {};
  } catch {
    return {};
  }
}

export function findingOf(
  { path, line, column, message, remedy }: SpecProblem,
  severity: SpecFinding["severity"] = "error",
): SpecFinding {
  return { severity, path, line, column, message, remedy };
}
