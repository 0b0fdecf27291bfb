import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  CreateRouteRequestSchema,
  GetPipelineRequestSchema,
  PublishPipelineRequestSchema,
  RegistryService,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { afterEach, describe, expect, test } from "vitest";
import { connectRpc, isIdempotent, rpcErrorOf } from "./clients.ts";
import { rpcError } from "./errors.ts";
import { route } from "./route.ts";
import { type RpcServer, startRpcServer } from "./server.ts";

let server: RpcServer | undefined;
afterEach(async () => {
  await server?.stop(100);
});

/** Fails with `reasons` in turn, then answers. */
async function failing(reasons: ErrorReason[]): Promise<{ baseUrl: string; calls: () => number }> {
  let calls = 0;
  const next = (): object => {
    const reason = reasons[calls++];
    if (reason !== undefined) throw rpcError(reason, { domain: "registry" });
    return {};
  };
  server = await startRpcServer({
    domain: "registry",
    port: 0,
    routes: [route(RegistryService, { getPipeline: next, createRoute: next, publishPipeline: next })],
  });
  return { baseUrl: `http://127.0.0.1:${server.port}`, calls: () => calls };
}

const get = { tenantId: "acme", name: "voice-assistant" };
const away = ErrorReason.DEPENDENCY_UNAVAILABLE;

describe("repeats", () => {
  test("a read is repeated while the reason says it may succeed later, and no further", async () => {
    const { baseUrl, calls } = await failing([away, away]);
    const client = connectRpc({ baseUrl, domain: "registry", random: () => 0 }).client(RegistryService);
    await client.getPipeline(get);
    expect(calls()).toBe(3);
  });

  test("a refusal for good is not repeated; nor is more than the bound of attempts", async () => {
    const refused = await failing([ErrorReason.NOT_FOUND]);
    const first = connectRpc({ baseUrl: refused.baseUrl, domain: "registry", random: () => 0 }).client(RegistryService);
    const error = await first.getPipeline(get).catch((failure: unknown) => rpcErrorOf(failure, "registry"));
    expect([error, refused.calls()]).toMatchObject([{ detail: { reason: ErrorReason.NOT_FOUND } }, 1]);
    await server?.stop(100);
    const always = await failing(Array.from({ length: 9 }, () => away));
    const second = connectRpc({ baseUrl: always.baseUrl, domain: "registry", random: () => 0 }).client(RegistryService);
    await expect(second.getPipeline(get)).rejects.toThrow();
    expect(always.calls()).toBe(4);
  });

  test("what changes something is repeated under an idempotency key alone", () => {
    const { createRoute, publishPipeline, getPipeline } = RegistryService.method;
    expect(isIdempotent(getPipeline, create(GetPipelineRequestSchema))).toBe(true);
    expect(isIdempotent(createRoute, create(CreateRouteRequestSchema))).toBe(false);
    expect(isIdempotent(createRoute, create(CreateRouteRequestSchema, { idempotencyKey: "k" }))).toBe(true);
    expect(isIdempotent(publishPipeline, create(PublishPipelineRequestSchema))).toBe(false);
  });

  test("a server that is not there is told as such, within the deadline", async () => {
    const client = connectRpc({ baseUrl: "http://127.0.0.1:1", domain: "registry", deadlineMs: 300 }).client(
      RegistryService,
    );
    const error = await client.getPipeline(get).catch((failure: unknown) => rpcErrorOf(failure, "registry"));
    expect(error).toMatchObject({ detail: { domain: "registry" } });
    expect([away, ErrorReason.DEADLINE_EXCEEDED]).toContain((error as ReturnType<typeof rpcErrorOf>).reason);
  });
});
