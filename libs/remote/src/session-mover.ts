/**
 * Finds a live session another runtime (kernel.md §7; F-096): placed by the registry, or by the last view of the fleet while
 * the registry is away, since an outage of the control plane ends no call; granted by the lease service under a newer epoch.
 */
import { err, ok, type Result } from "@rspp/base/result";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { FleetService, MoveReason } from "@rspp/gen/rspp/registry/v1/fleet_service_pb";
import type { OpenRefusal, TokenClaims } from "@rspp/ports/session-opener";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import type { LinkPool, PooledLink } from "./link-pool.ts";
import { refusalOf } from "./link-words.ts";
import type { RoutingViewCache } from "./routing-view.ts";
import { grantLease, leaseHeld } from "./session-opener-lease.ts";

export interface MoveAsk {
  readonly claims: TokenClaims;
  /** Runtime it is to leave, and the epoch it held there. */
  readonly from: string;
  readonly epoch: number;
  readonly why: "lost" | "draining" | "migration";
  /** Where it is to go; "" anywhere. */
  readonly target: string;
  /** Runtimes that did not take it. */
  readonly avoid: readonly string[];
  readonly openTurn: number;
  readonly lastTurn: number;
  /** Of this move, the same over its repeats. */
  readonly key: string;
}

export interface Moved {
  readonly instance: string;
  readonly grant: SignedGrant;
  readonly epoch: number;
  /** Acquired for the session. */
  readonly link: PooledLink;
}

/** Never rejects. */
export interface SessionMover {
  move(ask: MoveAsk): Promise<Result<Moved, OpenRefusal>>;
}

export interface SessionMoverOptions {
  readonly registry: RpcConnection;
  readonly lease: RpcConnection;
  readonly view: RoutingViewCache;
  readonly pool: LinkPool;
  readonly adapterId: string;
  /** Wanted lease term, milliseconds; 0: the lease service's. */
  readonly termMs: number;
}

interface Place {
  readonly instance: string;
  readonly address: string;
}

const reasons = {
  lost: MoveReason.RUNTIME_LOST,
  draining: MoveReason.DRAIN,
  migration: MoveReason.MIGRATION,
} as const;

export function createSessionMover(options: SessionMoverOptions): SessionMover {
  const { lease, pool, adapterId, termMs } = options;
  return {
    async move(ask) {
      const place = await placeOf(options, ask);
      if (!place.ok) return place;
      const { instance, address } = place.value;
      const wanted = { claims: ask.claims, adapterId, instance, termMs, idempotencyKey: `${ask.key}-${instance}` };
      let leased = await grantLease(lease, { ...wanted, takeoverOf: ask.epoch });
      if (!leased.ok && leased.error.reason === "authority_epoch_mismatch") {
        // It was rotated, or an answer of ours was lost: what is in force now is what is taken over.
        const held = await leaseHeld(lease, ask.claims);
        const ours =
          held !== null && (held.holder === ask.from || held.holder === instance || ask.avoid.includes(held.holder));
        if (held !== null && ours) leased = await grantLease(lease, { ...wanted, takeoverOf: held.epoch });
      }
      if (!leased.ok) return leased;
      const { grant, epoch } = leased.value;
      const link = pool.of(address);
      link.acquire();
      return ok({ instance, grant, epoch, link });
    },
  };
}

async function placeOf(options: SessionMoverOptions, ask: MoveAsk): Promise<Result<Place, OpenRefusal>> {
  if (ask.target !== "") return placeAt(options, ask.target);
  const { tenant: tenantId, session: sessionId } = ask.claims;
  const about = { session: { tenantId, sessionId }, fromInstanceId: ask.from, reason: reasons[ask.why] };
  const seen = { authorityEpoch: BigInt(ask.epoch), openTurnNumber: ask.openTurn, lastTurnNumber: ask.lastTurn };
  const avoidInstanceIds = [...ask.avoid];
  try {
    const { placement } = await options.registry
      .client(FleetService)
      .reassignSession({ ...about, ...seen, avoidInstanceIds, idempotencyKey: ask.key, actor: options.adapterId });
    if (placement !== undefined && placement.instanceId !== ask.from && placement.address !== "")
      return ok({ instance: placement.instanceId, address: placement.address });
  } catch (failure) {
    const refused = refusalOf(rpcErrorOf(failure, "registry").detail);
    // What the registry decided stands; one that is away, or does not know of moves, decides nothing.
    if (!["dependency_unavailable", "runtime_internal_error", "not_found"].includes(refused.reason))
      return err(refused);
  }
  return placeByView(options, ask);
}

async function placeAt({ view }: SessionMoverOptions, target: string): Promise<Result<Place, OpenRefusal>> {
  const found = await view.find(target);
  const instance = found.ok ? found.value : null;
  if (instance === null || instance.role !== "runtime" || instance.address === "")
    return err({ reason: "not_found", remedy: `No runtime ${target} is known: name another, or none.` });
  return ok({ instance: instance.instanceId, address: instance.address });
}

async function placeByView({ view }: SessionMoverOptions, ask: MoveAsk): Promise<Result<Place, OpenRefusal>> {
  const ready = await view.ready("runtime");
  if (!ready.ok)
    return err({ reason: "dependency_unavailable", remedy: "The registry is out of reach: try again later." });
  const free = ready.value
    .filter(({ instanceId, address }) => address !== "" && instanceId !== ask.from && !ask.avoid.includes(instanceId))
    .filter(({ sessions, capacitySessions }) => sessions < capacitySessions)
    .sort((a, b) => a.sessions / a.capacitySessions - b.sessions / b.capacitySessions);
  const [best] = free;
  if (best === undefined)
    return err({ reason: "capacity_exhausted", remedy: "No other runtime has room: try again later." });
  return ok({ instance: best.instanceId, address: best.address });
}
