import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { InstanceService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { expect, onTestFinished, test } from "vitest";
import { connectRpc, rpcErrorOf } from "./clients.ts";
import { route } from "./route.ts";
import { startRpcServer } from "./server.ts";

async function rig() {
  const server = await startRpcServer({
    domain: "registry",
    port: 0,
    streamsPerConnectionMax: 16,
    routes: [
      route(InstanceService, {
        reportInstance: async function* (reports) {
          for await (const _ of reports) yield { reportEveryMs: 1_000 };
        },
      }),
    ],
  });
  onTestFinished(async () => void (await server.stop(0)));
  const rpc = connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "registry", attemptsMax: 1 });
  const report = async (requests: AsyncIterable<object>) => {
    try {
      for await (const _ of rpc.client(InstanceService).reportInstance(requests));
      return null;
    } catch (failure) {
      return rpcErrorOf(failure, "none").detail;
    }
  };
  return { server, report };
}

test("NF-013 a stream that is refused halfway gives its place on the connection back, and holds no stop up", async () => {
  const { server, report } = await rig();
  for (let n = 0; n < 40; n++) {
    const detail = await report(
      (async function* () {
        for (let i = 0; i < 3; i++) yield {};
      })(),
    );
    expect([n, detail?.reason]).toEqual([n, ErrorReason.SCHEMA_VALIDATION_ERROR]);
    expect(detail?.violations.map(({ field }) => field)).toEqual(["status"]);
  }
  expect(server.connections()).toBe(1);
  expect(await server.stop(1_000)).toBe(true);
});
