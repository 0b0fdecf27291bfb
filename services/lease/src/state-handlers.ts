/** The calls of session state: compare-and-set on session, epoch and version (kernel.md §8). */
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { fieldError, overStore } from "@rspp/host/store-failure";
import { type RpcRoute, route } from "@rspp/rpc/route";
import type { StateStore } from "@rspp/store/state-store";
import { domain, stateError } from "./refusals.ts";
import { sessionOf } from "./wire.ts";

export function stateRoute(store: StateStore): RpcRoute {
  return route(StateService, {
    getState: ({ session, keys }) =>
      overStore(domain, async () => {
        const found = await store.get(sessionOf(session), keys);
        const { epoch, version, entries, writtenWallMs } = found;
        return {
          state: {
            session: found.session,
            epoch: BigInt(epoch),
            version: BigInt(version),
            entries: entries.map(({ key, value, schema }) => ({ key, value: new Uint8Array(value), schema })),
            writtenWallMs: BigInt(writtenWallMs),
          },
        };
      }),
    compareAndSetState: ({ session, epoch, expectedVersion, put, remove, idempotencyKey }) =>
      overStore(domain, async () => {
        checkKeys(put, remove);
        const outcome = await store.compareAndSet({
          session: sessionOf(session),
          epoch: Number(epoch),
          expectedVersion: Number(expectedVersion),
          put,
          remove,
          requestKey: idempotencyKey,
        });
        if (outcome.kind !== "written") throw stateError(outcome);
        return { version: BigInt(outcome.version), repeatedRequest: outcome.repeated };
      }),
    deleteState: ({ session, epoch }) =>
      overStore(domain, async () => {
        const outcome = await store.delete(sessionOf(session), Number(epoch));
        if (outcome.kind !== "deleted") throw stateError(outcome);
        return {};
      }),
  });
}

function checkKeys(put: readonly { readonly key: string }[], remove: readonly string[]): void {
  const seen = new Set<string>();
  const named = [
    ...put.map(({ key }, i) => [`put[${i}].key`, key] as const),
    ...remove.map((key, i) => [`remove[${i}]`, key] as const),
  ];
  for (const [field, key] of named) {
    if (seen.has(key)) throw fieldError(domain, { field, rule: "unique", message: "is named a second time" });
    seen.add(key);
  }
}
