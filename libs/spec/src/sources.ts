/** Where each value of a compiled pipeline came from (F-078). */
import type { ExecutionProfile } from "@rspp/kernel/profile";
import type { PipelineSpec } from "./spec.ts";

/** Notes the source of each value as it is taken. */
export class Sources {
  readonly provenance: Record<string, string> = {};
  /** Path of each value that was written -> its field path in the spec. */
  readonly places = new Map<string, string>();
  readonly #spec: PipelineSpec;
  readonly profile: ExecutionProfile;

  constructor(spec: PipelineSpec, profile: ExecutionProfile) {
    this.#spec = spec;
    this.profile = profile;
  }

  /** Where a value given by the spec comes from: its file, a module or layer, or the template that was filled in. */
  written(specPath: string): string {
    const { template, positions } = this.#spec.origin;
    const place = positions.get(specPath);
    return place?.origin?.source ?? (template === null || place !== undefined ? "spec" : template);
  }

  note(path: string, source: string): void {
    this.provenance[path] = source;
  }

  /** Notes a value that the spec gives, and where. */
  take(path: string, specPath: string): void {
    this.note(path, this.written(specPath));
    this.places.set(path, specPath);
  }

  /** The spec's value, else the profile's; noted either way. */
  pick<T>(path: string, specPath: string, given: T | undefined, fallback: T): T {
    if (given === undefined) this.note(path, this.profile.source);
    else this.take(path, specPath);
    return given ?? fallback;
  }
}
