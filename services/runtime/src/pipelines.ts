/** Pipeline versions of the registry, compiled. A version never changes, so what is held here serves while the registry is away. */
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { OpenRefusal } from "@rspp/ports/session-opener";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { errorRule } from "@rspp/rpc/errors";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { SpecOptions } from "@rspp/spec/node-catalogue";
import type { Overrides } from "@rspp/spec/overrides";
import type { ConfigLayers } from "./layers.ts";
import { limits } from "./limits.ts";
import type { BuiltPipeline } from "./pipeline-build.ts";

/** What reads and compiles is large, and a runtime is ready without: its definition loads them later. */
const builder = (): Promise<typeof import("./pipeline-build.ts")> => import("./pipeline-build.ts");

export interface Pipelines {
  /**
   * With the tenant's layers (F-080). Never rejects.
   *
   * @param version `name@version`.
   * @param session what this session sets for itself; default nothing.
   */
  get(tenantId: string, version: string, session?: Overrides | null): Promise<Result<CompiledPipeline, OpenRefusal>>;
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
  readonly #held = new Map<string, BuiltPipeline>();
  readonly #fetching = new Map<string, Promise<Result<BuiltPipeline, OpenRefusal>>>();

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
    const { layered } = await builder();
    const own = layered(held.value.spec, [session], version, this.#options);
    return own.ok ? ok(own.value.compiled) : own;
  }

  #hold(tenantId: string, version: string): Promise<Result<BuiltPipeline, OpenRefusal>> {
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

  #keep(key: string, pipeline: BuiltPipeline): void {
    this.#held.delete(key);
    this.#held.set(key, pipeline);
    if (this.#held.size <= (this.#options.max ?? limits.PIPELINES_MAX)) return;
    const [oldest] = this.#held.keys();
    if (oldest !== undefined) this.#held.delete(oldest);
  }

  async #fetch(tenantId: string, version: string): Promise<Result<BuiltPipeline, OpenRefusal>> {
    const [, name, number] = /^([a-z][a-z0-9_-]{0,63})@([1-9]\d{0,9})$/.exec(version) ?? [];
    if (name === undefined) {
      return refused("not_found", "the token names no pipeline as name@version: ask the registry for a new route");
    }
    const { registry } = this.#options;
    try {
      const ask = { tenantId, name, version: Number(number) };
      const { source, nodePackages } = await registry.client(RegistryService).getPipeline(ask);
      const { otherPackage, readPipeline } = await builder();
      const other = otherPackage(nodePackages, version, this.#options.nodes);
      if (other !== null) return other;
      return readPipeline(source, this.#options.layers?.of(tenantId) ?? [], version, this.#options);
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

function refused(reason: OpenRefusal["reason"], remedy: string): Result<never, OpenRefusal> {
  return err({ reason, remedy });
}
