/** One session's lease as its holder keeps it: steps of the machine, and what each answer means outside. */

import { fromBinary } from "@bufbuild/protobuf";
import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import { type Grant, GrantSchema, LeaseState, ReceiverKind, type SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { type LeaseChange, LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { createHolder, holderNextDeadline, holderStep } from "@rspp/protocol/lease-holder";
import type { HolderInput, HolderOutput, HolderState, Grant as ProtocolGrant } from "@rspp/protocol/lease-types";
import { limits as machine } from "@rspp/protocol/limits";
import type { RpcConnection } from "@rspp/rpc/clients";
import { describeFailure } from "@rspp/rpc/log";
import type { LeaseToKeep } from "./lease-keeper.ts";
import { type RenewalAnswer, type Renewals, refusalOf } from "./lease-keeper-renewals.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { RuntimeSession } from "./runtime.ts";

/** What a lease is kept for. */
export type LeasedSession = Pick<RuntimeSession, "id" | "update" | "ended">;

export interface KeptLeasePorts {
  readonly lease: RpcConnection;
  readonly renewals: Renewals;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly instanceId: string;
}

export class KeptLease {
  readonly #lease: LeaseToKeep;
  readonly #ports: KeptLeasePorts;
  readonly #state: HolderState;
  #timer: TimerHandle | null = null;
  #calling = false;
  #stopped = false;
  /** Until when the session was told that it may act. */
  #toldNs: MonoNs;
  /** Of the last grant, for the adapter's floor; null before a rotation. */
  #proof: SignedGrant | null = null;
  #elsewhere = 0;

  constructor(lease: LeaseToKeep, ports: KeptLeasePorts) {
    this.#lease = lease;
    this.#ports = ports;
    this.#state = createHolder(ports.instanceId, lease.session.id);
    this.#toldNs = lease.terms.deadlineNs;
  }

  start(): void {
    const { grant, terms } = this.#lease;
    this.#granted(grant, terms.requestedAtNs, 0);
  }

  /** Without giving the lease back: it runs out by itself. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.clear();
  }

  /** The session is over. Gives the lease back; a lease service that is away lets it run out. */
  async release(): Promise<void> {
    if (this.#stopped) return;
    const { epoch, phase } = this.#state;
    const mine = phase === "held" || phase === "overrun";
    this.stop();
    holderStep(this.#state, { kind: "release" }, this.#ports.clock.nowNs());
    if (!mine) return;
    try {
      await this.#client().releaseLease(this.#asked(epoch), { timeoutMs: limits.LEASE_CALL_MS });
    } catch (failure) {
      this.#ports.logger.info({ ...this.#where(), ...describeFailure(failure) }, "lease not given back: it runs out");
    }
  }

  /** What the watch tells of this session. */
  changed({ lease, signed }: LeaseChange): void {
    const grant = lease?.grant;
    if (grant === undefined || this.#stopped) return;
    const epoch = Number(grant.epoch);
    if (lease?.state === LeaseState.REVOKED || grant.holderId === "") return this.#step({ kind: "revoked", epoch });
    // A lease that merely ran out may still be renewed; one given back without us is no longer ours.
    if (lease?.state === LeaseState.RELEASED) return this.#step({ kind: "revoked", epoch });
    if (epoch <= this.#state.epoch) return;
    if (grant.holderId !== this.#ports.instanceId) {
      this.#elsewhere = epoch;
      return this.#step({ kind: "stale", receiver: "", floor: epoch });
    }
    this.#proof = signed ?? null;
    this.#granted(grant, this.#ports.clock.nowNs(), 0);
  }

  #granted(grant: Grant, requestedAtNs: MonoNs, oldRunsOutInMs: number): void {
    const signed = { grant: protocolGrant(grant), signature: "" };
    this.#step({ kind: "granted", signed, requestedAtNs, oldRunsOutInMs });
  }

  #step(input: HolderInput): void {
    if (this.#stopped) return;
    for (const output of holderStep(this.#state, input, this.#ports.clock.nowNs())) this.#one(output);
    this.#lengthen();
    this.#arm();
  }

  #one(output: HolderOutput): void {
    switch (output.kind) {
      case "announce":
        // This process enforces its own floors from the step that takes the epoch on; the adapter is told by `raiseEpoch`
        // and is waited for where the link is. So every receiver of ours knows by now.
        return void holderStep(
          this.#state,
          { kind: "floor_acked", receiver: output.receiver, epoch: output.signed.grant.epoch },
          this.#ports.clock.nowNs(),
        );
      case "renew":
        return void this.#renew(output.epoch);
      case "reacquire":
        return void this.#reacquire();
      case "acquired":
        return this.#acquired(output.epoch, output.previousEpoch);
      case "fenced":
        return this.#fenced(output);
      case "overrun":
        return this.#ports.logger.warn(this.#where(), "lease service away: the session goes on past its lease");
      case "recovered":
        return this.#ports.logger.info(this.#where(), "lease renewed after an outage");
      case "receiver_ready":
        return;
    }
  }

  #acquired(epoch: number, previousEpoch: number): void {
    void this.#acknowledge(epoch);
    if (previousEpoch === 0) return;
    const { session, raiseEpoch } = this.#lease;
    const deadlineNs = this.#state.deadlineNs;
    this.#toldNs = deadlineNs;
    this.#ports.logger.info({ ...this.#where(), epoch_before: previousEpoch }, "lease rotated");
    raiseEpoch?.(epoch, this.#proof);
    session.update({ type: "authority", kind: "rotated", epoch, deadlineNs });
  }

  #fenced({ epoch, reason }: Extract<HolderOutput, { kind: "fenced" }>): void {
    if (reason === "released") return;
    this.#ports.logger.warn({ ...this.#where(), reason }, "lease lost");
    // The session sees by its own deadline that a lease lapsed. Nobody else may have been given it: it is asked for again.
    if (reason === "expired") return void this.#renew(epoch);
    const deadlineNs = this.#ports.clock.nowNs();
    const elsewhere = reason === "stale_epoch" && this.#elsewhere > epoch;
    const floor = this.#elsewhere;
    if (elsewhere) void this.#lease.session.ended.then(() => this.#acknowledge(floor));
    const update = elsewhere
      ? ({ kind: "granted_elsewhere", epoch: this.#elsewhere } as const)
      : ({ kind: "revoked", epoch } as const);
    this.#lease.session.update({ type: "authority", ...update, deadlineNs });
  }

  /** Tells the session of a later deadline: a renewal's, or, while the lease service is away, a little more time. */
  #lengthen(): void {
    const { phase, deadlineNs, serviceReachable, epoch } = this.#state;
    if (phase !== "held" && phase !== "overrun") return;
    let untilNs: number = deadlineNs;
    if (!serviceReachable) {
      const nowNs = this.#ports.clock.nowNs();
      if (this.#toldNs - nowNs > msToNs(limits.LEASE_OVERRUN_AHEAD_MS)) return;
      const hardNs = deadlineNs + msToNs(machine.LEASE_OVERRUN_MS);
      untilNs = Math.min(hardNs, Math.max(deadlineNs, nowNs + msToNs(limits.LEASE_OVERRUN_STEP_MS)));
    }
    if (untilNs <= this.#toldNs) return;
    this.#toldNs = asMonoNs(untilNs);
    this.#lease.session.update({ type: "authority", kind: "renewed", epoch, deadlineNs: this.#toldNs });
  }

  #arm(): void {
    this.#timer?.clear();
    if (this.#state.fencedBy === "expired") return this.#askAgain();
    const next = holderNextDeadline(this.#state);
    if (next === null) return;
    const aheadNs = this.#toldNs - msToNs(limits.LEASE_OVERRUN_AHEAD_MS);
    const atNs = this.#state.serviceReachable
      ? next
      : Math.min(next, Math.max(aheadNs, this.#ports.clock.nowNs() + 1e6));
    this.#timer = this.#ports.clock.timerAt(asMonoNs(atNs), () => this.#step({ kind: "tick" }));
  }

  #askAgain(): void {
    const { clock } = this.#ports;
    const atNs = asMonoNs(clock.nowNs() + msToNs(machine.LEASE_RENEW_MS));
    this.#timer = clock.timerAt(atNs, () => {
      void this.#renew(this.#state.epoch);
      this.#arm();
    });
  }

  /** Comes along with others that are renewed now, where it is due by `untilNs`. */
  hasten(untilNs: MonoNs): void {
    if (this.#state.renewAtNs <= untilNs) this.#step({ kind: "renew_now" });
  }

  async #renew(epoch: number): Promise<void> {
    if (this.#calling) return;
    this.#calling = true;
    const { tenantId, session } = this.#lease;
    const answer = await this.#ports.renewals.ask({ tenantId, sessionId: session.id, epoch });
    this.#calling = false;
    switch (answer.kind) {
      case "renewed":
        return this.#renewed(epoch, answer);
      case "refused":
        return this.#step({ kind: "renew_refused", epoch, reason: answer.reason });
      case "failed":
        return this.#step({ kind: "service", reachable: false });
    }
  }

  #renewed(asked: number, answer: Extract<RenewalAnswer, { kind: "renewed" }>): void {
    const { epoch, termMs, requestedAtNs, signed } = answer;
    if (epoch === asked) return this.#step({ kind: "renewed", epoch, termMs, requestedAtNs });
    // Rotated, and the news was lost: its grant comes with the renewal. Without it, the watch will tell.
    if (signed === null || epoch < this.#state.epoch) return;
    this.#proof = signed;
    this.#granted(fromBinary(GrantSchema, signed.grant), requestedAtNs, 0);
  }

  /** The store was restored and knows nothing against this holder: it asks for the session again. */
  async #reacquire(): Promise<void> {
    if (this.#calling) return;
    this.#calling = true;
    const { clock, instanceId } = this.#ports;
    const requestedAtNs = clock.nowNs();
    const { epoch } = this.#state;
    try {
      const { receivers } = this.#lease.grant;
      const idempotencyKey = `reissue:${instanceId}:${epoch}`;
      const ask = { session: this.#key(), holderId: instanceId, receivers, idempotencyKey };
      const { lease, signed } = await this.#client().grantLease(ask, { timeoutMs: limits.LEASE_CALL_MS });
      this.#calling = false;
      if (lease?.grant === undefined) return;
      this.#proof = signed ?? null;
      this.#granted(lease.grant, requestedAtNs, 0);
    } catch (failure) {
      this.#calling = false;
      this.#ports.logger.warn({ ...this.#where(), ...describeFailure(failure) }, "lease not issued again");
      if (refusalOf(failure) === "held") this.#step({ kind: "renew_refused", epoch, reason: "not_holder" });
    }
  }

  /** This process is both ends of the session inside the runtime: what it enforces is told, once. */
  async #acknowledge(epoch: number): Promise<void> {
    const inside: readonly number[] = [ReceiverKind.RUNTIME_INGRESS, ReceiverKind.RUNTIME_EGRESS];
    // A grant names those of its predecessors, too: they speak for themselves.
    const own = `${this.#ports.instanceId}/`;
    const floors = this.#lease.grant.receivers
      .filter(({ kind, receiverId }) => inside.includes(kind) && receiverId.startsWith(own))
      .map(({ receiverId }) => ({ receiverId, session: this.#key(), floorEpoch: BigInt(epoch) }));
    if (floors.length === 0) return;
    try {
      await this.#client().acknowledgeFloor({ floors }, { timeoutMs: limits.LEASE_CALL_MS });
    } catch (failure) {
      this.#ports.logger.info({ ...this.#where(), ...describeFailure(failure) }, "floor not acknowledged");
    }
  }

  #client() {
    return this.#ports.lease.client(LeaseService);
  }

  #asked(epoch: number) {
    return { session: this.#key(), holderId: this.#ports.instanceId, epoch: BigInt(epoch) };
  }

  #key() {
    return { tenantId: this.#lease.tenantId, sessionId: this.#lease.session.id };
  }

  #where() {
    return { tenant_id: this.#lease.tenantId, session_id: this.#lease.session.id, epoch: this.#state.epoch };
  }
}

function protocolGrant(grant: Grant): ProtocolGrant {
  return {
    session: grant.session?.sessionId ?? "",
    epoch: Number(grant.epoch),
    holder: grant.holderId === "" ? null : grant.holderId,
    receivers: grant.receivers.map(({ receiverId }) => receiverId),
    termMs: grant.termMs,
    lastSequence: grant.lastSequence === 0n ? null : Number(grant.lastSequence),
  };
}
