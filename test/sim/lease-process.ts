import type { Result } from "@rspp/base/result";
import {
  createGrantor,
  grantLease,
  renewLease,
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
  readonly grantor: GrantorState = createGrantor(1);

  constructor(proc: SimProcess) {
    this.proc = proc;
  }

  acquire(session: string, holder: string): Result<Granted, GrantRefusal> {
    const now = this.proc.clock.nowNs();
    if (this.grantor.leases[session] === undefined) {
      return grantLease(this.grantor, { session, holder, receivers: RECEIVERS }, sign, now);
    }
    return transferLease(this.grantor, { session, toHolder: holder, receivers: RECEIVERS }, sign, now);
  }

  renew(session: string, holder: string, epoch: number): Result<{ epoch: number; termMs: number }, GrantRefusal> {
    return renewLease(this.grantor, { session, holder, epoch }, this.proc.clock.nowNs());
  }

  rotate(session: string, holder: string, epoch: number, lastSequence: number): Result<Granted, GrantRefusal> {
    return rotateLease(this.grantor, { session, holder, epoch, lastSequence }, sign, this.proc.clock.nowNs());
  }

  revoke(session: string): Result<Granted, GrantRefusal> {
    return revokeLease(this.grantor, session, sign, this.proc.clock.nowNs());
  }
}

/** What a receiver believes: the shipped floor, and the trace of what it let act. */
export class Receiver {
  readonly name: string;
  readonly state: ReceiverState;
  readonly #trace: Trace;

  constructor(name: string, lease: LeaseProcess, trace: Trace) {
    this.name = name;
    this.#trace = trace;
    this.state = createReceiver(name, 1);
    receiverSync(this.state, syncReceiver(lease.grantor, name, 1), verify);
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
