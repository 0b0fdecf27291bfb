/** Pipeline versions of the registry, compiled. A version never changes, so what is held here serves while the registry is away. */
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { errorRule } from "@rspp/rpc/errors";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { applyLayers } from "@rspp/spec/layers";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import type { Overrides } from "@rspp/spec/overrides";
import { parseSpec } from "@rspp/spec/parse-spec";
import type { SpecProblem } from "@rspp/spec/problem";
import type { PipelineSpec } from "@rspp/spec/spec";
import type { ConfigLayers } from "./layers.ts";
import { limits } from "./limits.ts";

export interface Pipelines {
  /**
   * With the tenant's layers (F-080). Never rejects.
   *
   * @param version `name@version`.
   * @param session what this session sets for itself; default nothing.
   */
  get(tenantId: string, version: string, session?: Overrides | null): Promise<Result<CompiledPipeline, OpenRefusal>>;
}

/** A version under its tenant's layers. */
interface Held {
  readonly spec: PipelineSpec;
  readonly compiled: CompiledPipeline;
}

export interface PipelinesOptions extends SpecOptions {
  readonly registry: RpcConnection;
  /** Default none. */
  readonly layers?: ConfigLayers;
  /** Versions held; the one not asked for the longest goes first. Default PIPELINES_MAX. */
  readonly max?: number;
}

export function createPipelines(options: PipelinesOptions): Pipelines {
  return new PipelineCache(options);
}

class PipelineCache implements Pipelines {
  readonly #options: PipelinesOptions;
  readonly #held = new Map<string, Held>();
  readonly #fetching = new Map<string, Promise<Result<Held, OpenRefusal>>>();

  constructor(options: PipelinesOptions) {
    this.#options = options;
  }

  async get(
    tenantId: string,
    version: string,
    session: Overrides | null = null,
  ): Promise<Result<CompiledPipeline, OpenRefusal>> {
    const held = await this.#hold(tenantId, version);
    if (!held.ok) return held;
    if (session === null) return ok(held.value.compiled);
    // Of this session alone: nobody else would ask for it.
    const own = layered(held.value.spec, [session], version, this.#options);
    return own.ok ? ok(own.value.compiled) : own;
  }

  #hold(tenantId: string, version: string): Promise<Result<Held, OpenRefusal>> {
    // Neither part can hold a line feed.
    const key = `${tenantId}\n${version}`;
    const held = this.#held.get(key);
    if (held !== undefined) {
      this.#keep(key, held);
      return Promise.resolve(ok(held));
    }
    const known = this.#fetching.get(key);
    if (known !== undefined) return known;
    const fetching = this.#fetch(tenantId, version).then((found) => {
      this.#fetching.delete(key);
      if (found.ok) this.#keep(key, found.value);
      return found;
    });
    this.#fetching.set(key, fetching);
    return fetching;
  }

  #keep(key: string, pipeline: Held): void {
    this.#held.delete(key);
    this.#held.set(key, pipeline);
    if (this.#held.size <= (this.#options.max ?? limits.PIPELINES_MAX)) return;
    const [oldest] = this.#held.keys();
    if (oldest !== undefined) this.#held.delete(oldest);
  }

  async #fetch(tenantId: string, version: string): Promise<Result<Held, OpenRefusal>> {
    const [, name, number] = /^([a-z][a-z0-9_-]{0,63})@([1-9]\d{0,9})$/.exec(version) ?? [];
    if (name === undefined) {
      return refused("not_found", "the token names no pipeline as name@version: ask the registry for a new route");
    }
    const { registry } = this.#options;
    try {
      const ask = { tenantId, name, version: Number(number) };
      const { source } = await registry.client(RegistryService).getPipeline(ask);
      const parsed = parseSpec(new TextDecoder().decode(source), version, undefined, this.#options);
      if (!parsed.ok) return invalid(parsed.error, version);
      return layered(parsed.value, this.#options.layers?.of(tenantId) ?? [], version, this.#options);
    } catch (failure) {
      const { reason, detail } = rpcErrorOf(failure, "registry");
      if (reason === ErrorReason.NOT_FOUND) {
        return refused("not_found", `pipeline ${version} is not published: publish it, or ask for a version that is`);
      }
      const what = `pipeline ${version} is not held here and the registry gave ${errorRule(reason).name}`;
      return refused("dependency_unavailable", `${what}: ${detail.remedy}`);
    }
  }
}

function layered(
  spec: PipelineSpec,
  layers: readonly Overrides[],
  version: string,
  options: SpecOptions,
): Result<Held, OpenRefusal> {
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
  return refused("pipeline_invalid", `pipeline ${version} does not compile here${what}: publish a version that does`);
}

/** The field, with file and line where it stands in a layer. */
function placeOf({ file, line, path }: SpecProblem, version: string): string {
  const field = path || "spec";
  return file === version ? field : `${file}:${line} ${field}`;
}

function refused(reason: OpenRefusal["reason"], remedy: string): Result<never, OpenRefusal> {
  return err({ reason, remedy });
}
