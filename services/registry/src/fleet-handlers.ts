/** Calls of FleetService, and what an instance is told to do. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { type FleetService, MoveReason } from "@rspp/gen/rspp/registry/v1/fleet_service_pb";
import { DrainMode, type ReportInstanceResponseSchema } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { overStore } from "@rspp/host/store-failure";
import { actorOf, setAudited } from "@rspp/rpc/caller";
import { rpcError } from "@rspp/rpc/errors";
import type { route } from "@rspp/rpc/route";
import type { InstanceOrders, MoveReasonName } from "@rspp/store/session-store";
import type { Fleet } from "./fleet.ts";
import { domain, instanceNotFound, moveError } from "./refusals.ts";
import { bytesOf, instanceToWire, sessionKeyOf } from "./wire.ts";

const reasons: Readonly<Record<MoveReason, MoveReasonName>> = {
  // Refused by the contract.
  [MoveReason.UNSPECIFIED]: "migration",
  [MoveReason.RUNTIME_LOST]: "runtime_lost",
  [MoveReason.DRAIN]: "drain",
  [MoveReason.MIGRATION]: "migration",
  [MoveReason.REGION_SICK]: "region_sick",
};

export function fleetCalls({ fleet }: { readonly fleet: Fleet }) {
  return {
    reassignSession: (ask, { values }) =>
      overStore(domain, async () => {
        const { fromInstanceId, idempotencyKey, avoidInstanceIds, region, openTurnNumber, lastTurnNumber } = ask;
        const session = sessionKeyOf(ask.session);
        const done = await fleet.reassign({
          session,
          fromInstanceId,
          reason: reasons[ask.reason],
          requestKey: idempotencyKey,
          actor: actorOf(values, ask.actor),
          avoidInstanceIds,
          region,
          authorityEpoch: Number(ask.authorityEpoch),
          openTurnNumber,
          lastTurnNumber,
        });
        if (!("placement" in done)) throw moveError(done, session.sessionId);
        if (done.kind !== "unchanged") setAudited(values);
        const { name, version, digest } = done.row.pipeline;
        const { placedWallMs, ...placement } = done.placement;
        return {
          placement: {
            session,
            pipeline: { name, version, digest: bytesOf(digest) },
            ...placement,
            placedWallMs: BigInt(placedWallMs),
          },
          unchanged: done.kind === "unchanged",
        };
      }),
    migrateSession: (ask, { values }) =>
      overStore(domain, async () => {
        const session = sessionKeyOf(ask.session);
        const instanceId = await fleet.migrate(session, actorOf(values, ask.actor), ask.reason);
        if (instanceId !== undefined) {
          setAudited(values);
          return { instanceId };
        }
        throw rpcError(ErrorReason.SESSION_NOT_FOUND, { domain, metadata: { session: session.sessionId } });
      }),
    drainInstance: ({ instanceId, mode, deadlineMs, actor, reason }, { values }) =>
      overStore(domain, async () => {
        const wanted = mode === DrainMode.MIGRATE ? "migrate" : "finish";
        const found = await fleet.drain({
          instanceId,
          mode: wanted,
          deadlineMs,
          actor: actorOf(values, actor),
          reason,
        });
        if (found === undefined) throw instanceNotFound(instanceId);
        setAudited(values);
        return { instance: instanceToWire(found.instance), sessions: found.sessions };
      }),
    undrainInstance: ({ instanceId, actor }, { values }) =>
      overStore(domain, async () => {
        const wasDrained = await fleet.undrain(instanceId, actorOf(values, actor));
        if (wasDrained) setAudited(values);
        return { wasDrained };
      }),
  } satisfies Parameters<typeof route<typeof FleetService>>[1];
}

export function ordersToWire({
  drain,
  migrate,
}: InstanceOrders): Pick<
  MessageInitShape<typeof ReportInstanceResponseSchema>,
  "drain" | "drainOrder" | "migrateSessions"
> {
  const migrateSessions = [...migrate];
  if (drain === null) return { drain: false, migrateSessions };
  const mode = drain.mode === "migrate" ? DrainMode.MIGRATE : DrainMode.FINISH;
  const { deadlineWallMs, reason } = drain;
  return { drain: true, drainOrder: { mode, deadlineWallMs: BigInt(deadlineWallMs), reason }, migrateSessions };
}
