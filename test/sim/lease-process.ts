import type { Result } from "@rspp/base/result";
import {
  createGrantor,
  grantLease,
  renewLease,
  reopenGrantor,
  revokeLease,
  rotateLease,
  syncReceiver,
  transferLease,
} from "@rspp/protocol/lease-grantor";
import { createReceiver, receiverAccept, receiverFloor, receiverSync } from "@rspp/protocol/lease-receiver";
import type {
  EventAnswer,
  FloorAnswer,
  Grant,
  Granted,
  GrantorState,
  GrantRefusal,
  ReceiverState,
  Renewed,
  SignedGrant,
} from "@rspp/protocol/lease-types";
import type { SimProcess } from "./process.ts";
import type { Trace } from "./trace.ts";

export const RECEIVERS = ["adapter", "replay"] as const;

/** Stands for the service's signature: what matters here is that only the grantor can make it. */
function sign(grant: Grant): string {
  return `signed ${grant.session} ${grant.epoch} ${grant.holder ?? "nobody"}`;
}

export function verify(signed: SignedGrant): boolean {
  return signed.signature === sign(signed.grant);
}

/** The lease service: the shipped grantor, one process. */
export class LeaseProcess {
  readonly proc: SimProcess;
  grantor: GrantorState = createGrantor(1);
  readonly #trace: Trace;
  /** What a backup of the store holds. */
  #backup: GrantorState = createGrantor(1);

  constructor(proc: SimProcess, trace: Trace) {
    this.proc = proc;
    this.#trace = trace;
  }

  backUp(): void {
    this.#backup = structuredClone(this.grantor);
  }

  /** The store comes up again from its backup: whatever was granted since is unknown to it. */
  restore(): void {
    const incarnation = this.grantor.storeIncarnation + 1;
    this.grantor = structuredClone(this.#backup);
    reopenGrantor(this.grantor, incarnation, this.proc.clock.nowNs());
  }

  /** For a holder that a restored store knows nothing of. */
  reissue(session: string, holder: string): Result<Granted, GrantRefusal> {
    const now = this.proc.clock.nowNs();
    return this.#told(grantLease(this.grantor, { session, holder, receivers: RECEIVERS }, sign, now));
  }

  #told(result: Result<Granted, GrantRefusal>): Result<Granted, GrantRefusal> {
    if (!result.ok) return result;
    const { session, epoch, holder } = result.value.signed.grant;
    this.#trace.tell({ kind: "granted", session, epoch, holder: holder ?? "" });
    return result;
  }

  acquire(session: string, holder: string): Result<Granted, GrantRefusal> {
    const now = this.proc.clock.nowNs();
    if (this.grantor.leases[session] === undefined) {
      return this.#told(grantLease(this.grantor, { session, holder, receivers: RECEIVERS }, sign, now));
    }
    return this.#told(transferLease(this.grantor, { session, toHolder: holder, receivers: RECEIVERS }, sign, now));
  }

  renew(session: string, holder: string, epoch: number): Result<Renewed, GrantRefusal> {
    return renewLease(this.grantor, { session, holder, epoch }, this.proc.clock.nowNs());
  }

  rotate(session: string, holder: string, epoch: number, lastSequence: number): Result<Granted, GrantRefusal> {
    const ask = { session, holder, epoch, lastSequence };
    return this.#told(rotateLease(this.grantor, ask, sign, this.proc.clock.nowNs()));
  }

  revoke(session: string): Result<Granted, GrantRefusal> {
    return this.#told(revokeLease(this.grantor, session, sign, this.proc.clock.nowNs()));
  }
}

/** What a receiver believes: the shipped floor, and the trace of what it let act. */
export class Receiver {
  readonly name: string;
  readonly state: ReceiverState;
  readonly #trace: Trace;

  readonly #lease: LeaseProcess;

  /** @param synced false: it refuses everything until `sync`. */
  constructor(name: string, lease: LeaseProcess, trace: Trace, synced = true) {
    this.name = name;
    this.#trace = trace;
    this.#lease = lease;
    this.state = createReceiver(name, 1);
    if (synced) this.sync();
  }

  sync(): void {
    receiverSync(this.state, syncReceiver(this.#lease.grantor, this.name, 1), verify);
  }

  floor(signed: SignedGrant): FloorAnswer {
    const answer = receiverFloor(this.state, signed, verify);
    if (answer.ok && answer.raised) this.#raised(answer.session, answer.epoch);
    return answer;
  }

  accept(session: string, epoch: number, signed: SignedGrant | null, what: string): EventAnswer {
    const answer = receiverAccept(this.state, { session, epoch, sequence: 0, signed }, verify);
    if (!answer.ok) {
      this.#trace.add({ kind: "refused", receiver: this.name, session, epoch, reason: answer.reason });
      return answer;
    }
    if (answer.raised) this.#raised(session, answer.epoch);
    this.#trace.add({ kind: "accepted", receiver: this.name, session, epoch, what });
    return answer;
  }

  #raised(session: string, epoch: number): void {
    this.#trace.add({ kind: "floor", receiver: this.name, session, epoch });
  }
}
