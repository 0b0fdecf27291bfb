/** Peers of the runtime for tests: routes that are called without a socket, and can be away. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { connectDirect, type RpcConnection } from "@rspp/rpc/clients";
import { rpcError } from "@rspp/rpc/errors";
import type { RpcRoute } from "@rspp/rpc/route";
import { type RpcServer, startRpcServer } from "@rspp/rpc/server";
import { onTestFinished } from "vitest";

export interface TestPeer {
  readonly connection: RpcConnection;
  readonly server: RpcServer;
}

/** Ends with the test. */
export async function peerOf(domain: string, routes: readonly RpcRoute[]): Promise<TestPeer> {
  const server = await startRpcServer({ domain, port: 0, routes });
  onTestFinished(async () => void (await server.stop(0)));
  return { server, connection: connectDirect(server.handlers, { domain, attemptsMax: 1 }) };
}

/** What a peer that cannot be reached is met with. */
export function away(domain: string): Error {
  return rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain });
}

/** Turns of the event loop until `done`: calls without sockets are answered within a few. */
export async function soon(done: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000; turn++) {
    if (done()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error("the awaited state did not come");
}
