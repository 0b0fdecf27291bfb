/** A pipeline version from its text, with layers laid over it; loaded when the first is asked for, with what reads and compiles. */
import { err, ok, type Result } from "@rspp/base/result";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { applyLayers } from "@rspp/spec/layers";
import type { NodeCatalogue, SpecOptions } from "@rspp/spec/node-catalogue";
import type { Overrides } from "@rspp/spec/overrides";
import { parseSpec } from "@rspp/spec/parse-spec";
import type { SpecProblem } from "@rspp/spec/problem";
import type { PipelineSpec } from "@rspp/spec/spec";

/** A version under its tenant's layers. */
export interface BuiltPipeline {
  readonly spec: PipelineSpec;
  readonly compiled: CompiledPipeline;
}

/** @param version `name@version`. */
export function readPipeline(
  source: Uint8Array,
  layers: readonly Overrides[],
  version: string,
  options: SpecOptions,
): Result<BuiltPipeline, OpenRefusal> {
  const parsed = parseSpec(new TextDecoder().decode(source), version, undefined, options);
  return parsed.ok ? layered(parsed.value, layers, version, options) : invalid(parsed.error, version);
}

/** F-121: bytes other than those the pipeline was published with are not run, whatever they call themselves. */
export function otherPackage(
  pinned: readonly { readonly name: string; readonly sha256: string }[],
  version: string,
  nodes: NodeCatalogue | undefined,
): Result<never, OpenRefusal> | null {
  for (const { name, sha256 } of pinned) {
    const found = nodes?.(name) ?? null;
    if (found === null || found.digest === sha256) continue;
    const words = `the package ${name} of pipeline ${version} has sha256 ${found.digest.slice(0, 12)}… here, and was published with ${sha256.slice(0, 12)}…`;
    const remedy = `${words}: put the published package into node_packages, or publish this one under a new version`;
    return err({ reason: "pipeline_invalid", remedy });
  }
  return null;
}

export function layered(
  spec: PipelineSpec,
  layers: readonly Overrides[],
  version: string,
  options: SpecOptions,
): Result<BuiltPipeline, OpenRefusal> {
  const laid = applyLayers(spec, layers);
  if (!laid.ok) return invalid(laid.error, version);
  const made = compileSpec(laid.value, options);
  if (!made.ok) return invalid(made.error, version);
  // The registry's number counts; what the text calls itself is its author's business.
  const { graph } = made.value;
  const number = version.slice(version.lastIndexOf("@") + 1);
  const compiled = { ...made.value, version: number, graph: { ...graph, pipelineVersion: version } };
  return ok({ spec: laid.value, compiled });
}

/**
 * The first problem alone: the registry refuses what does not compile, so this is a version of another build, or a layer that
 * does not fit.
 */
function invalid(problems: readonly SpecProblem[], version: string): Result<never, OpenRefusal> {
  const [first] = problems;
  const what = first === undefined ? "" : ` (${placeOf(first, version)}: ${first.message}; ${first.remedy})`;
  const remedy = `pipeline ${version} does not compile here${what}: publish a version that does`;
  return err({ reason: "pipeline_invalid", remedy });
}

/** The field, with file and line where it stands in a layer. */
function placeOf({ file, line, path }: SpecProblem, version: string): string {
  const field = path || "spec";
  return file === version ? field : `${file}:${line} ${field}`;
}
