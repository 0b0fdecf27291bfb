import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import type { RpcError } from "@rspp/rpc/errors";
import { openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { bidiMethod } from "@rspp/rpc/grpc-server";
import { route } from "@rspp/rpc/route";
import { HealthService } from "@rspp/rpc/well-known";
import { StoreError } from "@rspp/store/store-error";
import { expect, onTestFinished, test } from "vitest";
import { commonFields, portField } from "./common-fields.ts";
import { resolveConfig } from "./config.ts";
import type { PlainService, ServiceContext } from "./service.ts";
import { startService } from "./start.ts";

const fields = { port: portField(7999), stream_port: portField(8099), ...commonFields };
const token = "one-token-of-a-platform";
const env = { TOKEN: token, OTHER: "another-token-of-nobody", SHORT: "short" };

async function start(...argv: string[]) {
  const seen: { context?: ServiceContext; log: string } = { log: "" };
  const definition: PlainService<typeof fields> = {
    service: "example",
    fields,
    database: false,
    start: async (_values, context) => {
      seen.context = context;
      const invoke = bidiMethod(ProviderService.method.invoke, (duplex) => {
        duplex.end();
        return { onMessage: () => undefined };
      });
      return {
        routes: [route(RegistryService, { listTokenKeys: () => ({ keys: [] }) })],
        streams: [{ service: ProviderService, methods: { invoke } }],
      };
    },
  };
  const config = resolveConfig(fields, {
    service: "example",
    argv: ["--port", "0", "--stream-port", "0", ...argv],
    env: {},
  });
  if (!config.ok || "help" in config.value) throw new Error("no values");
  const logTo = (line: string): void => {
    seen.log += line;
  };
  const running = await startService(definition, config.value.values, { env, logTo });
  onTestFinished(async () => void (await running.stop(0)));
  return { running, seen };
}

test.each([
  ["0.0.0.0", []],
  ["::", []],
  ["0.0.0.0", ["--tls-cert", "x", "--tls-key", "env:TOKEN"]],
])(
  "NF-015 on %s without token or certificates of clients it does not start, and says what to set",
  async (host, more) => {
    const failure: unknown = await start("--host", host, ...more).catch((thrown: unknown) => thrown);
    expect(failure).toBeInstanceOf(StoreError);
    const { code, message } = failure as StoreError;
    expect(code).toBe("invalid");
    if (more.length === 0) expect(message).toMatch(/service_token.*tls_ca.*127\.0\.0\.1/);
  },
);

test("NF-015 on loopback it starts without, and its log says so once", async () => {
  const { seen } = await start();
  expect(seen.log.split("callers are not asked who they are").length).toBe(2);
});

test("F-119 with a service token: both ports ask for it, health does not, and what it opens itself shows it", async () => {
  const { running, seen } = await start("--host", "0.0.0.0", "--service-token", "env:TOKEN");
  expect(seen.log).not.toContain(token);
  expect(seen.log).not.toContain("callers are not asked");
  const { port, stream_port = 0 } = running.ready;
  const as = (shown: string | null) =>
    connectRpc({ baseUrl: `http://127.0.0.1:${port}`, domain: "example", token: () => shown, attemptsMax: 1 });
  const keys = (shown: string | null) =>
    as(shown)
      .client(RegistryService)
      .listTokenKeys({})
      .then(
        () => null,
        (failure: unknown) => rpcErrorOf(failure, "example").reason,
      );
  expect(await keys(null)).toBe(ErrorReason.UNAUTHENTICATED);
  expect(await keys(env.OTHER)).toBe(ErrorReason.TOKEN_INVALID);
  expect(await keys(token)).toBe(null);
  expect((await as(null).client(HealthService).check({})).status).toBe(1);
  expect((await running.connection().client(RegistryService).listTokenKeys({})).keys).toEqual([]);
  const channel = openChannel({ address: `127.0.0.1:${stream_port}` });
  onTestFinished(() => channel.close());
  const stream = (headers: Readonly<Record<string, string>>) =>
    new Promise<ErrorReason | null>((resolve) => {
      const onClosed = (error: RpcError | null) => resolve(error?.reason ?? null);
      const duplex = openDuplex(
        channel,
        ProviderService.method.invoke,
        { onMessage: () => undefined, onClosed },
        { headers },
      );
      duplex.end();
    });
  expect(await stream({})).toBe(ErrorReason.UNAUTHENTICATED);
  expect(seen.context?.streams.headers()).toEqual({ authorization: `Bearer ${token}` });
  expect(await stream(seen.context?.streams.headers() ?? {})).toBe(null);
});

test("a token too short, and peer names without certificates, are refused by their keys", async () => {
  const short: unknown = await start("--service-token", "env:SHORT").catch((thrown: unknown) => thrown);
  expect(rpcErrorOf(short, "x").detail.metadata).toMatchObject({ key: "service_token" });
  const names: unknown = await start("--peer-names", "runtime").catch((thrown: unknown) => thrown);
  expect((names as StoreError).message).toContain("tls_ca");
});
