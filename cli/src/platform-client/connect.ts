/** Connections to the services of a platform; whatever goes wrong is told with reason, field and remedy. */
import type { DescService } from "@bufbuild/protobuf";
import { connectRpc, type RpcConnection } from "@rspp/rpc/clients";
import { secretSource } from "@rspp/store/secret";
import { StoreError } from "@rspp/store/store-error";
import { usageError } from "../errors.ts";
import { type PeerName, serviceFailure } from "./failure.ts";

export interface Caller {
  /** Reference of the token, `env:NAME` or `file:/path`. */
  readonly token?: string | undefined;
}

const clientOf = <S extends DescService>(connection: RpcConnection, service: S) => connection.client(service);
type Client<S extends DescService> = ReturnType<typeof clientOf<S>>;

export interface Peer<S extends DescService> {
  readonly url: string;
  /** @throws CommandError in place of what the call was refused with. */
  ask<T>(call: (client: Client<S>) => Promise<T>): Promise<T>;
  /** The messages of a server stream; ends without an error once `signal` is aborted. */
  stream<T>(call: (client: Client<S>) => AsyncIterable<T>, signal?: AbortSignal): AsyncIterable<T>;
}

const messageBytesMax = 16_777_216;

/** @throws CommandError when the token's reference is none. */
export function connectTo<S extends DescService>(peer: PeerName, url: string, service: S, caller: Caller): Peer<S> {
  const connection = connectRpc({
    baseUrl: url,
    domain: peer,
    messageBytesMax,
    ...shownBy(caller),
  });
  const client = clientOf(connection, service);
  return {
    url,
    ask: async (call) => {
      try {
        return await call(client);
      } catch (failure) {
        throw serviceFailure(failure, peer, url);
      }
    },
    async *stream(call, signal) {
      try {
        yield* call(client);
      } catch (failure) {
        if (signal?.aborted === true) return;
        throw serviceFailure(failure, peer, url);
      }
    },
  };
}

/** `--token`, else RSPP_TOKEN: the token itself, as tools are given one, or a reference. */
function shownBy({ token = process.env.RSPP_TOKEN }: Caller): { token?: () => Promise<string> } {
  if (token === undefined || token === "") return {};
  const named = token !== process.env.RSPP_TOKEN || /^(?:env|file):/.test(token);
  return { token: tokenOf(named ? token : "env:RSPP_TOKEN") };
}

function tokenOf(reference: string): () => Promise<string> {
  const read = (() => {
    try {
      return secretSource(reference);
    } catch (error) {
      // What stands there may be the token: it is not repeated.
      if (error instanceof StoreError)
        throw usageError("--token: a token is given by reference, not as it is", "Write env:NAME or file:/path there");
      throw error;
    }
  })();
  return async () => (await read.read()).reveal();
}
