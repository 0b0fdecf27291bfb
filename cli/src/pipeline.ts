/** From a spec file to what a session starts with. */

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems } from "@rspp/spec/problem";
import { type SessionOptions, sessionConfigOf as sessionConfig } from "@rspp/spec/session-config";
import { InputError } from "./errors.ts";
import { modulesBeside } from "./module-files.ts";

export interface LoadedPipeline {
  path: string;
  source: string;
  compiled: CompiledPipeline;
}

/** @throws InputError with every problem's file, line, column, path and remedy. */
export async function loadPipeline(path: string, options: SpecOptions = {}): Promise<LoadedPipeline> {
  let source: string;
  try {
    source = await readFile(path, "utf8");
  } catch (cause) {
    throw new InputError(
      `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? "error"})\n   help: name an existing PipelineSpec, e.g. pipelines/specs/voice-assistant.yaml`,
    );
  }
  const parsed = parseSpec(source, path, modulesBeside(path), options);
  if (!parsed.ok) throw new InputError(formatProblems(parsed.error, source));
  const compiled = compileSpec(parsed.value, options);
  if (!compiled.ok) throw new InputError(formatProblems(compiled.error, source));
  return { path, source, compiled: compiled.value };
}

/** As the shared room makes it, with a seed of its own where none is asked for. */
export function sessionConfigOf(
  pipeline: CompiledPipeline,
  options: Omit<SessionOptions, "seed"> & { seed?: string },
): SessionConfig {
  return sessionConfig(pipeline, { ...options, seed: options.seed ?? randomBytes(16).toString("hex") });
}
