/** A PipelineSpec in a file: read, checked, and its problems as people and as programs read them. */
import { readFile } from "node:fs/promises";
import type { Finding } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { FindingSeverity } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { applyLayers } from "@rspp/spec/layers";
import { bundleSpec } from "@rspp/spec/module-library";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import { type Overrides, parseOverrides } from "@rspp/spec/overrides";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems, type SpecProblem } from "@rspp/spec/problem";
import type { PipelineSpec } from "@rspp/spec/spec";
import { CommandError, EXIT_INPUT, InputError } from "./errors.ts";
import { modulesBeside } from "./module-files.ts";

export interface SpecFinding extends SpecProblem {
  readonly severity: "error" | "warning";
}

export interface SpecFile {
  readonly path: string;
  readonly source: string;
  readonly format: "yaml" | "json";
}

export type CheckedFile =
  | { readonly ok: true; readonly spec: PipelineSpec; readonly compiled: CompiledPipeline }
  | { readonly ok: false; readonly problems: readonly SpecProblem[] };

const sourceBytesMax = 1_048_576;

/** @throws InputError when it cannot be read. */
export async function readSpecFile(path: string): Promise<SpecFile> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(
      `${path}: cannot be read (${code})\n   help: name an existing PipelineSpec, e.g. pipelines/specs/voice-assistant.yaml`,
    );
  }
  if (bytes.length > sourceBytesMax)
    throw new InputError(`${path}: has ${bytes.length} bytes\n   help: a spec has at most ${sourceBytesMax}`);
  try {
    const source = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return { path, source, format: /\.json$/i.test(path) ? "json" : "yaml" };
  } catch {
    throw new InputError(`${path}: is no UTF-8 text\n   help: save it as UTF-8`);
  }
}

/** @param layers laid over the spec before it is compiled (F-080); default none. */
export function checkFile(
  { path, source }: SpecFile,
  layers: readonly Overrides[] = [],
  options: SpecOptions = {},
): CheckedFile {
  const parsed = parseSpec(source, path, modulesBeside(path), options);
  if (!parsed.ok) return { ok: false, problems: parsed.error };
  const layered = applyLayers(parsed.value, layers);
  if (!layered.ok) return { ok: false, problems: layered.error };
  const compiled = compileSpec(layered.value, options);
  if (!compiled.ok) return { ok: false, problems: compiled.error };
  return { ok: true, spec: layered.value, compiled: compiled.value };
}

/** Layers of configuration from files. @throws InputError with every problem. */
export async function readLayers(paths: readonly string[]): Promise<Overrides[]> {
  const layers: Overrides[] = [];
  for (const path of paths) {
    const { source } = await readSpecFile(path);
    const read = parseOverrides(source, path);
    if (!read.ok) throw new InputError(formatProblems(read.error, source));
    layers.push(read.value);
  }
  return layers;
}

/** What a service is sent: one text that needs no files, the modules behind the spec (F-019). */
export function selfContained(file: SpecFile, checked: CheckedFile): SpecFile {
  const library = checked.ok ? (checked.spec.origin.library ?? []) : [];
  if (library.length === 0) return file;
  return { ...file, source: bundleSpec(file.source, library), format: "yaml" };
}

/** A service's findings with the file's own name; the remedy stands apart from the message. */
export function findingsOfWire(findings: readonly Finding[], file: SpecFile): SpecFinding[] {
  return findings.map(({ severity, violation, remedy }) => ({
    severity: severity === FindingSeverity.WARNING ? "warning" : "error",
    ...problemOf(violation?.field ?? "", violation?.message ?? "", remedy, file),
    line: violation?.line || 1,
    column: violation?.column || 1,
  }));
}

export function problemOf(field: string, message: string, remedy: string, { path }: SpecFile): SpecProblem {
  const tail = `: ${remedy}`;
  return {
    file: path,
    line: 1,
    column: 1,
    path: field === "source" ? "" : field,
    code: "bad_format",
    message: remedy !== "" && message.endsWith(tail) ? message.slice(0, -tail.length) : message,
    remedy,
    sensitive: false,
  };
}

/** `file:line:column: error: …`, the source line, the remedy. */
export function tellFindings(findings: readonly SpecFinding[], source: string): string {
  return findings
    .map((finding) => {
      const told = formatProblems([finding], source);
      return finding.severity === "warning" ? told.replace(/^(\S.*?:\d+:\d+): error: /, "$1: warning: ") : told;
    })
    .join("\n\n");
}

/** The same for programs. */
export function findingData({ severity, file, line, column, path, code, message, remedy }: SpecFinding) {
  return { severity, file, line, column, path, code, message, remedy };
}

export function asWarnings(problems: readonly SpecProblem[]): SpecFinding[] {
  return problems.map((problem) => ({ severity: "warning", ...problem }));
}

export function asErrors(problems: readonly SpecProblem[]): SpecFinding[] {
  return problems.map((problem) => ({ severity: "error", ...problem }));
}

/**
 * A spec with a secret written into it stays on this machine.
 *
 * @throws CommandError with its place.
 */
export function refuseSecrets(checked: CheckedFile, { source }: SpecFile): void {
  const secrets = checked.ok
    ? []
    : checked.problems.filter(({ code, sensitive }) => sensitive || code === "secret_literal");
  if (secrets.length === 0) return;
  throw new CommandError({
    status: EXIT_INPUT,
    reason: "secret_literal",
    what: `${formatProblems(secrets, source)}\nnothing was sent`,
    remedy: "write a reference, env:NAME or file:/path, in place of the secret, and rotate the secret",
  });
}
