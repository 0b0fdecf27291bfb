/** Routes for Realtime clients that know an address, a key and a model only: the registry decides on them (F-088). */
import { randomUUID } from "node:crypto";
import { err, ok } from "@rspp/base/result";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { detailName } from "@rspp/transport/problem";
import type { RealtimeRoutes } from "./endpoint.ts";

export interface RealtimeRouteOptions {
  /** The registry, without this service's own token. */
  readonly registry: RpcConnection;
  /** Whose pipelines `model` names. */
  readonly tenant: string;
  readonly region: string;
}

const modelPattern = /^([a-z][a-z0-9_-]{0,63})(?:@([1-9][0-9]{0,8}))?$/;

/** `model` is `pipeline` or `pipeline@version`. */
export function createRealtimeRoutes({ registry, tenant, region }: RealtimeRouteOptions): RealtimeRoutes {
  return async ({ key, model }) => {
    const [, pipelineName, version = "0"] = modelPattern.exec(model) ?? [];
    if (pipelineName === undefined)
      return err({
        reason: "not_found",
        remedy: "Name a pipeline in ?model=, e.g. voice-assistant or voice-assistant@2.",
      });
    try {
      const request = {
        tenantId: tenant,
        pipelineName,
        pipelineVersion: Number(version),
        transport: "websocket",
        region,
        idempotencyKey: randomUUID(),
      };
      const headers = { authorization: `Bearer ${key}` };
      const { route } = await registry.client(RegistryService).createRoute(request, { headers });
      return route === undefined ? err({ reason: "dependency_unavailable" }) : ok(route.token);
    } catch (failure) {
      const { detail } = rpcErrorOf(failure, "registry");
      return err({ reason: detailName(detail), remedy: detail.remedy });
    }
  };
}
