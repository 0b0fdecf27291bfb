/** NF-015, F-119: registry and lease as processes, with a service token, asked by those who have it and those who do not. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { HealthService, ServingStatus } from "@rspp/rpc/well-known";
import { expect, onTestFinished, test } from "vitest";
import { dataDir, spawnService, startService, stopService } from "./services-rig.ts";

const token = "a-token-that-a-platform-shares";

test("F-119 registry and lease take no write without the service token, nor with a wrong one, and never print it", async () => {
  for (const service of ["registry", "lease"] as const) {
    const data = dataDir();
    const args = ["--data", data.dir, "--service-token", "env:TOKEN", "--log-level", "debug"];
    const running = await startService(service, { args, env: { TOKEN: token } });
    onTestFinished(async () => {
      await stopService(running);
      data.remove();
    });
    const write = (shown: string | null) => {
      const rpc = connectRpc({ baseUrl: running.url, domain: service, attemptsMax: 1, token: () => shown });
      const call =
        service === "registry"
          ? rpc.client(RegistryService).createRoute({ tenantId: "acme" })
          : rpc.client(LeaseService).grantLease({ session: { tenantId: "acme", sessionId: "s-1" }, holderId: "me" });
      return call.then(
        () => null,
        (failure: unknown) => rpcErrorOf(failure, service).reason,
      );
    };
    expect(await write(null)).toBe(ErrorReason.UNAUTHENTICATED);
    expect(await write(`${token}-altered`)).toBe(ErrorReason.TOKEN_INVALID);
    // With it the call is looked at for what it asks.
    expect([ErrorReason.UNAUTHENTICATED, ErrorReason.TOKEN_INVALID]).not.toContain(await write(token));
    expect((await running.rpc.client(HealthService).check({})).status).toBe(ServingStatus.SERVING);
    expect(running.out() + running.errors()).not.toContain(token);
  }
}, 120_000);

test("NF-015 on an address that others reach it does not start without, and says which keys to set", async () => {
  const data = dataDir();
  onTestFinished(() => data.remove());
  const spawned = spawnService("lease", { args: ["--data", data.dir, "--host", "0.0.0.0", "--port", "0"] });
  expect((await spawned.ended).status).toBe(2);
  expect(spawned.errors()).toMatch(/0\.0\.0\.0.*service_token.*tls_ca/);
}, 30_000);
