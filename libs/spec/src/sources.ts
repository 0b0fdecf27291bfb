/** Where each value of a compiled pipeline came from (F-078). */
import type { ExecutionProfile } from "@rspp/kernel/profile";
import type { PipelineSpec } from "./spec.ts";

/** Notes the source of each value as it is taken. */
export class Sources {
  readonly provenance: Record<string, string> = {};
  readonly #spec: PipelineSpec;
  readonly profile: ExecutionProfile;

  constructor(spec: PipelineSpec, profile: ExecutionProfile) {
    this.#spec = spec;
    this.profile = profile;
  }

  /** Where a value given by the spec comes from: its file, or the template that was filled in. */
  written(specPath: string): string {
    const { template, positions } = this.#spec.origin;
    return template === null || positions.has(specPath) ? "spec" : template;
  }

  note(path: string, source: string): void {
    this.provenance[path] = source;
  }

  /** The spec's value, else the profile's; noted either way. */
  pick<T>(path: string, specPath: string, given: T | undefined, fallback: T): T {
    this.note(path, given === undefined ? this.profile.source : this.written(specPath));
    return given ?? fallback;
  }
}
