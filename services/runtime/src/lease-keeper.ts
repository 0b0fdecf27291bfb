/**
 * The holder's side of every session's lease (kernel.md §7): renews them every five seconds in one call, hears of rotation, revocation and
 * takeover, gives it back at the end. The machine of libs/protocol decides; this file calls the lease service for it and
 * tells the session. An outage of the lease service ends no call: the lease is lengthened as far as the machine allows.
 */
import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import { sessionKey } from "@rspp/base/session-key";
import type { Grant, SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { type LeaseChange, LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { Clock } from "@rspp/ports/clock";
import { limits as machine } from "@rspp/protocol/limits";
import type { RpcConnection } from "@rspp/rpc/clients";
import { describeFailure } from "@rspp/rpc/log";
import { createRenewals, type Renewals } from "./lease-keeper-renewals.ts";
import { KeptLease, type LeasedSession } from "./lease-keeper-session.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import { type StreamLoop, startStreamLoop } from "./stream-loop.ts";

export interface LeaseToKeep {
  readonly session: LeasedSession;
  readonly tenantId: string;
  /** Verified, held by this instance, see {@link leaseTerms}. */
  readonly grant: Grant;
  readonly terms: LeaseTerms;
  /** Called before the session is told of a new epoch. */
  raiseEpoch?(epoch: number, proof: SignedGrant | null): void;
}

export interface LeaseTerms {
  /** From when the term counts. */
  readonly requestedAtNs: MonoNs;
  readonly deadlineNs: MonoNs;
}

export interface LeaseKeeperOptions {
  readonly lease: RpcConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Holder of the leases. */
  readonly instanceId: string;
  /** 0 to 1, spreads the waits before the watch is opened again. */
  random?(): number;
}

export interface LeaseKeeper {
  /** Until the session is over. */
  keep(lease: LeaseToKeep): void;
  /** Ends the watch; leases of sessions that are over have been given back, or the lease service did not answer. */
  close(): Promise<void>;
}

/**
 * What a grant that was just shown is worth: its age is unknown, so it counts as one that is due for renewal, and is
 * confirmed at once. Null when it ran out or is too short to act on.
 */
export function leaseTerms(grant: Grant, clock: Clock): LeaseTerms | null {
  const nowNs = clock.nowNs();
  const longGone = clock.wallMs() - Number(grant.expiresWallMs) > limits.WALL_SKEW_MS;
  const requestedAtNs = asMonoNs(Math.max(0, nowNs - msToNs(limits.LEASE_CONFIRM_MS)));
  const deadlineNs = requestedAtNs + msToNs(grant.termMs - machine.LEASE_CLOCK_MARGIN_MS);
  return longGone || deadlineNs <= nowNs ? null : { requestedAtNs, deadlineNs: asMonoNs(deadlineNs) };
}

export function createLeaseKeeper(options: LeaseKeeperOptions): LeaseKeeper {
  return new Keeper(options);
}

class Keeper implements LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #renewals: Renewals;
  readonly #kept = new Map<string, KeptLease>();
  readonly #ending = new Set<Promise<void>>();
  readonly #watch: StreamLoop;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
    const { lease, logger, instanceId, clock, random } = options;
    const hasten = (untilNs: MonoNs) => {
      for (const kept of this.#kept.values()) kept.hasten(untilNs);
    };
    this.#renewals = createRenewals({ lease, clock, logger, instanceId, hasten });
    this.#watch = startStreamLoop({
      clock,
      run: (signal, alive) => this.#follow(signal, alive),
      onReachable: (there, failure) => {
        if (there) options.logger.debug({}, "lease watch is up");
        else options.logger.debug(failure === null ? {} : describeFailure(failure), "lease watch ended");
      },
      ...(random === undefined ? {} : { random }),
    });
  }

  keep(lease: LeaseToKeep): void {
    const { lease: connection, clock, logger, instanceId } = this.#options;
    const kept = new KeptLease(lease, { lease: connection, renewals: this.#renewals, clock, logger, instanceId });
    const name = nameOf(lease.tenantId, lease.session.id);
    this.#kept.set(name, kept);
    const ending = lease.session.ended.then(async ({ reason, stateClosed }) => {
      if (this.#kept.get(name) === kept) this.#kept.delete(name);
      // The state goes while it may still be written: whoever gave the lease back may not.
      await stateClosed;
      // Another holds it now.
      if (reason === "migrated") kept.stop();
      else await kept.release();
      this.#ending.delete(ending);
    });
    this.#ending.add(ending);
    kept.start();
  }

  async close(): Promise<void> {
    await this.#watch.stop();
    for (const kept of this.#kept.values()) kept.stop();
    this.#renewals.stop();
    const over = [...this.#ending];
    // A session that is not over keeps its promise open; its lease runs out by itself.
    if (this.#kept.size === 0) await Promise.all(over);
  }

  async #follow(signal: AbortSignal, alive: () => void): Promise<void> {
    const { lease, instanceId } = this.#options;
    let first = true;
    for await (const { changes } of lease.client(LeaseService).watchLeases({ holderId: instanceId }, { signal })) {
      if (first) alive();
      first = false;
      for (const change of changes) this.#changed(change);
    }
  }

  #changed(change: LeaseChange): void {
    const key = change.lease?.grant?.session;
    if (key !== undefined) this.#kept.get(nameOf(key.tenantId, key.sessionId))?.changed(change);
  }
}

function nameOf(tenantId: string, sessionId: string): string {
  return sessionKey({ tenantId, sessionId });
}
