/** Every value a session would start with, whose it is, and where it was written (F-080, F-081). */
import { ok, type Result } from "@rspp/base/result";
import { compilePlaced } from "./compile-spec.ts";
import type { CompiledPipeline } from "./compiled.ts";
import { explainRows } from "./explain-spec.ts";
import type { SpecOptions } from "./node-catalogue.ts";
import { placeOf } from "./places.ts";
import type { SpecProblem } from "./problem.ts";
import type { PipelineSpec } from "./spec.ts";

export interface ResolvedRow {
  path: string;
  value: string;
  /** `spec`, a module, a layer, a template, the profile or the kind of the node. */
  source: string;
  /** `file:line` where it was written; "" for what nobody wrote. */
  at: string;
}

export interface ResolvedView {
  compiled: CompiledPipeline;
  rows: readonly ResolvedRow[];
}

/** Errors as of `compileSpec`. */
export function resolvedView(spec: PipelineSpec, options: SpecOptions = {}): Result<ResolvedView, SpecProblem[]> {
  const placed = compilePlaced(spec, options);
  if (!placed.ok) return placed;
  const { compiled, places } = placed.value;
  const { file, positions } = spec.origin;
  const rows = explainRows(compiled).map((row): ResolvedRow => {
    const written = places.get(row.path);
    if (written === undefined || row.source.startsWith("template/")) return { ...row, at: "" };
    const { origin, line } = placeOf(positions, written);
    return { ...row, at: `${origin?.file ?? file}:${line}` };
  });
  return ok({ compiled, rows });
}
