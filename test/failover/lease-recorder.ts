/** Clients that call the replicas at random, and write down what they asked, what they heard, and in which order. */
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import { type Lease, LeaseState, ReceiverKind } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { KeepAliveOutcome, LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import type { Operation } from "./checker.ts";
import type { LeaseAnswer, LeaseCall } from "./lease-model.ts";

export type LeaseOperation = Operation<LeaseCall, LeaseAnswer>;
export const tenantId = "recorded";

/** Shorter than the longer pauses: what becomes of a call to a replica that is stopped is often not heard. */
const callMs = 1_500;
const receivers = [{ receiverId: "adapter", kind: ReceiverKind.ADAPTER }];
const states: Partial<Record<LeaseState, "granted" | "expired" | "revoked" | "released">> = {
  [LeaseState.GRANTED]: "granted",
  [LeaseState.EXPIRED]: "expired",
  [LeaseState.REVOKED]: "revoked",
  [LeaseState.RELEASED]: "released",
};
const problems: Partial<Record<KeepAliveOutcome, string>> = {
  [KeepAliveOutcome.NOT_FOUND]: "unknown_session",
  [KeepAliveOutcome.FENCED]: "fenced",
};

/** Histories of sessions, over one order of calls and answers. */
export class Recorder {
  readonly #histories = new Map<string, LeaseOperation[]>();
  #now = 0;
  #count = 0;

  async record(
    client: number,
    session: string,
    input: LeaseCall,
    call: () => Promise<LeaseAnswer | undefined>,
  ): Promise<LeaseAnswer | undefined> {
    const called = this.#now++;
    const output = await call();
    const returned = output === undefined ? Number.POSITIVE_INFINITY : this.#now++;
    // A read that nobody heard of tells nothing.
    if (output !== undefined || input.kind !== "get") this.#add(session, { client, input, output, called, returned });
    return output;
  }

  /** One call that is an operation on each of several sessions. */
  async recordAll(
    client: number,
    asked: readonly { readonly session: string; readonly input: LeaseCall }[],
    call: () => Promise<readonly (LeaseAnswer | undefined)[]>,
  ): Promise<void> {
    const called = asked.map(() => this.#now++);
    const answers = await call();
    for (const [i, { session, input }] of asked.entries()) {
      const output = answers[i];
      const returned = output === undefined ? Number.POSITIVE_INFINITY : this.#now++;
      this.#add(session, { client, input, output, called: called[i] ?? 0, returned });
    }
  }

  #add(session: string, operation: LeaseOperation): void {
    const history = this.#histories.get(session) ?? [];
    history.push(operation);
    this.#histories.set(session, history);
    this.#count++;
  }

  /** What is written down so far, of all sessions. */
  count(): number {
    return this.#count;
  }

  histories(): ReadonlyMap<string, readonly LeaseOperation[]> {
    return this.#histories;
  }
}

function told(lease: Lease | undefined): LeaseAnswer | undefined {
  const state = states[lease?.state ?? LeaseState.UNSPECIFIED];
  if (lease?.grant === undefined || state === undefined) return undefined;
  return { ok: true, epoch: Number(lease.grant.epoch), holder: lease.grant.holderId, state };
}

/** What the service says of the lease; undefined for every failure that leaves open what happened. */
function refused(failure: unknown): LeaseAnswer | undefined {
  const { detail, reason } = rpcErrorOf(failure, "no-detail");
  const problem = detail.metadata.problem ?? (reason === ErrorReason.SESSION_NOT_FOUND ? "unknown_session" : "");
  return detail.domain === "lease" && problem !== "" ? { ok: false, problem } : undefined;
}

export async function askLease(
  rpc: RpcConnection,
  sessionId: string,
  call: Exclude<LeaseCall, { kind: "lapse" }>,
): Promise<LeaseAnswer | undefined> {
  try {
    return told(await leaseOf(rpc, sessionId, call));
  } catch (failure) {
    return refused(failure);
  }
}

async function leaseOf(
  rpc: RpcConnection,
  sessionId: string,
  call: Exclude<LeaseCall, { kind: "lapse" }>,
): Promise<Lease | undefined> {
  const client = rpc.client(LeaseService);
  const options = { timeoutMs: callMs };
  const session = { tenantId, sessionId };
  const key = "key" in call ? { idempotencyKey: call.key } : {};
  const reason = Reason.OPERATOR_CANCEL;
  switch (call.kind) {
    case "grant": {
      const { holder: holderId, takeover, expected } = call;
      const ask = { session, holderId, takeover, expectedEpoch: BigInt(expected), receivers, ...key };
      return (await client.grantLease(ask, options)).lease;
    }
    case "rotate": {
      const ask = { session, holderId: call.holder, epoch: BigInt(call.epoch), reason, ...key };
      return (await client.rotateLease(ask, options)).lease;
    }
    case "transfer": {
      const from = { fromHolderId: call.holder, expectedEpoch: BigInt(call.epoch), consented: true };
      return (await client.transferLease({ session, ...from, toHolderId: call.to, reason, ...key }, options)).lease;
    }
    case "renew":
      return (await client.renewLease({ session, holderId: call.holder, epoch: BigInt(call.epoch) }, options)).lease;
    case "release":
      return (await client.releaseLease({ session, holderId: call.holder, epoch: BigInt(call.epoch) }, options)).lease;
    case "revoke":
      return (await client.revokeLease({ session, epoch: BigInt(call.epoch), reason }, options)).lease;
    case "get":
      return (await client.getLease({ session }, options)).lease;
  }
}

/** A keep-alive of one holder: an answer for each session, or none at all. */
export async function keepAlive(
  rpc: RpcConnection,
  holderId: string,
  held: readonly { readonly session: string; readonly epoch: number }[],
): Promise<readonly (LeaseAnswer | undefined)[]> {
  const leases = held.map(({ session, epoch }) => ({
    session: { tenantId, sessionId: session },
    epoch: BigInt(epoch),
  }));
  try {
    const answer = await rpc.client(LeaseService).keepAlive({ holderId, leases }, { timeoutMs: callMs });
    return answer.leases.map(({ outcome, epoch }) => {
      if (outcome === KeepAliveOutcome.RENEWED) {
        return { ok: true, epoch: Number(epoch), holder: holderId, state: "granted" };
      }
      const problem = problems[outcome];
      return problem === undefined ? undefined : { ok: false, problem };
    });
  } catch {
    return [];
  }
}
