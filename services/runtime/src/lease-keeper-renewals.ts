/**
 * One keep-alive for all that this instance holds (kernel.md §7): renewals that come due together are sent in one call, and
 * each session has its own answer. A lease service of the version before knows no keep-alive: it is asked lease by lease.
 */
import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import { sessionKey } from "@rspp/base/session-key";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { KeepAliveOutcome, type KeptLease, LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { GrantRefusal } from "@rspp/protocol/lease-types";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { describeFailure } from "@rspp/rpc/log";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";

export type RenewalAnswer =
  /** `signed`: set when `epoch` is later than the one asked for, since a rotation's answer was lost. */
  | { kind: "renewed"; epoch: number; termMs: number; requestedAtNs: MonoNs; signed: SignedGrant | null }
  /** What the lease service says about the lease itself. */
  | { kind: "refused"; reason: GrantRefusal }
  /** It was not reached, or said nothing of the lease: no reason to end a call. */
  | { kind: "failed" };

export interface HeldLease {
  readonly tenantId: string;
  readonly sessionId: string;
  readonly epoch: number;
}

export interface Renewals {
  /** Answered once the call that it went with is; never rejects. */
  ask(held: HeldLease): Promise<RenewalAnswer>;
  stop(): void;
}

export interface RenewalPorts {
  readonly lease: RpcConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly instanceId: string;
  /** Lets every lease that is due by `untilNs` ask now. */
  hasten(untilNs: MonoNs): void;
}

interface Asked extends HeldLease {
  settle(answer: RenewalAnswer): void;
}

export function createRenewals(ports: RenewalPorts): Renewals {
  return new Batches(ports);
}

class Batches implements Renewals {
  readonly #ports: RenewalPorts;
  /** By session: a session that began anew under the same name asks for itself alone. */
  #asked = new Map<string, Asked>();
  #timer: TimerHandle | null = null;
  #calling = false;
  #stopped = false;
  #reachable = true;

  constructor(ports: RenewalPorts) {
    this.#ports = ports;
  }

  ask(held: HeldLease): Promise<RenewalAnswer> {
    return new Promise((settle) => {
      const name = sessionKey(held);
      this.#asked.get(name)?.settle({ kind: "failed" });
      this.#asked.set(name, { ...held, settle });
      this.#arm();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.clear();
    for (const one of this.#asked.values()) one.settle({ kind: "failed" });
    this.#asked.clear();
  }

  #arm(): void {
    if (this.#timer !== null || this.#calling || this.#stopped || this.#asked.size === 0) return;
    const { clock } = this.#ports;
    const atNs = asMonoNs(clock.nowNs() + msToNs(limits.LEASE_BATCH_MS));
    this.#timer = clock.timerAt(atNs, () => {
      this.#timer = null;
      void this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const { clock, hasten } = this.#ports;
    // Whoever asks from here on, those that are hastened too, goes with this flush or waits for the next.
    this.#calling = true;
    hasten(asMonoNs(clock.nowNs() + msToNs(limits.LEASE_BATCH_AHEAD_MS)));
    const due = [...this.#asked.values()];
    this.#asked = new Map();
    for (let from = 0; from < due.length; from += limits.LEASE_BATCH_MAX) {
      await this.#send(due.slice(from, from + limits.LEASE_BATCH_MAX));
    }
    this.#calling = false;
    this.#arm();
  }

  async #send(batch: readonly Asked[]): Promise<void> {
    const { lease, instanceId: holderId, clock } = this.#ports;
    const requestedAtNs = clock.nowNs();
    const held = batch.map(({ epoch, ...session }) => ({ session: keyOf(session), epoch: BigInt(epoch) }));
    try {
      const call = lease
        .client(LeaseService)
        .keepAlive({ holderId, leases: held }, { timeoutMs: limits.LEASE_CALL_MS });
      const { leases: kept } = await call;
      for (const [i, one] of batch.entries()) one.settle(answerOf(kept[i], requestedAtNs));
      this.#reachable = true;
    } catch (failure) {
      // What a service answers for a call that it does not serve; leases have reasons of their own.
      if (rpcErrorOf(failure, "lease").reason === ErrorReason.NOT_FOUND) return this.#eachAlone(batch);
      this.#failed(failure, batch.length);
      for (const one of batch) one.settle({ kind: "failed" });
    }
  }

  async #eachAlone(batch: readonly Asked[]): Promise<void> {
    for (let from = 0; from < batch.length; from += limits.LEASE_ALONE_MAX) {
      await Promise.all(batch.slice(from, from + limits.LEASE_ALONE_MAX).map((one) => this.#alone(one)));
    }
  }

  async #alone({ settle, epoch, ...session }: Asked): Promise<void> {
    const { lease, instanceId: holderId, clock } = this.#ports;
    const requestedAtNs = clock.nowNs();
    const ask = { session: keyOf(session), holderId, epoch: BigInt(epoch) };
    try {
      const renewed = await lease.client(LeaseService).renewLease(ask, { timeoutMs: limits.LEASE_CALL_MS });
      const { termMs = 0 } = renewed.lease?.grant ?? {};
      settle({ kind: "renewed", epoch, termMs, requestedAtNs, signed: null });
    } catch (failure) {
      const reason = refusalOf(failure);
      if (reason === null) this.#failed(failure, 1);
      settle(reason === null ? { kind: "failed" } : { kind: "refused", reason });
    }
  }

  /** Told once an outage. */
  #failed(failure: unknown, leases: number): void {
    if (this.#reachable) this.#ports.logger.warn({ leases, ...describeFailure(failure) }, "leases not renewed");
    this.#reachable = false;
  }
}

function keyOf({ tenantId, sessionId }: { readonly tenantId: string; readonly sessionId: string }) {
  return { tenantId, sessionId };
}

function answerOf(kept: KeptLease | undefined, requestedAtNs: MonoNs): RenewalAnswer {
  switch (kept?.outcome) {
    case KeepAliveOutcome.RENEWED: {
      const { termMs, signed = null } = kept;
      return { kind: "renewed", epoch: Number(kept.epoch), termMs, requestedAtNs, signed };
    }
    case KeepAliveOutcome.NOT_FOUND:
      return { kind: "refused", reason: "unknown_session" };
    case KeepAliveOutcome.FENCED:
      return { kind: "refused", reason: "stale_epoch" };
    case KeepAliveOutcome.REISSUE:
      return { kind: "refused", reason: "reissue" };
    default:
      // An outcome that this version does not know ends no call.
      return { kind: "failed" };
  }
}

/** What the lease service says about the lease itself; null for every failure to ask it, which ends no call. */
export function refusalOf(failure: unknown): GrantRefusal | null {
  switch (rpcErrorOf(failure, "lease").reason) {
    case ErrorReason.LEASE_LOST:
      return "not_holder";
    case ErrorReason.LEASE_HELD:
      return "held";
    case ErrorReason.AUTHORITY_EPOCH_MISMATCH:
      return "stale_epoch";
    case ErrorReason.SESSION_NOT_FOUND:
      return "unknown_session";
    case ErrorReason.STORE_INCARNATION_MISMATCH:
      return "reissue";
    default:
      return null;
  }
}
