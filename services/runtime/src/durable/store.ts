/** Session state over the wire (kernel.md §8): compare-and-set on session, epoch and version; the runtime opens no database. */
import { randomBytes } from "node:crypto";
import type { SessionName } from "@rspp/base/session-key";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { limits } from "../limits.ts";
import { DURABLE_KEY, DURABLE_SCHEMA } from "./document.ts";

export type StateRead =
  | { readonly kind: "found"; readonly version: number; readonly epoch: number; readonly bytes: Uint8Array }
  | { readonly kind: "missing" }
  | { readonly kind: "unreachable" };

export interface StateWrite {
  readonly session: SessionName;
  readonly epoch: number;
  /** Version that is replaced; 0 none. */
  readonly expected: number;
  readonly bytes: Uint8Array;
}

export type StateWritten =
  | { readonly kind: "written"; readonly version: number }
  /** Another one stands there: written under `version`. */
  | { readonly kind: "conflict" }
  /** A newer epoch holds the session: nothing of this one is ever taken again. */
  | { readonly kind: "fenced" }
  | { readonly kind: "failed" };

/** None of these ever rejects. */
export interface StatePort {
  read(session: SessionName, deadlineMs: number): Promise<StateRead>;
  write(write: StateWrite): Promise<StateWritten>;
  /** The session is over; best effort. */
  remove(session: SessionName, epoch: number): Promise<void>;
}

export function createStatePort(lease: RpcConnection): StatePort {
  const state = () => lease.client(StateService);
  const life = randomBytes(6).toString("base64url");
  let writes = 0;
  return {
    async read(session, deadlineMs) {
      try {
        const ask = { session: keyOf(session), keys: [DURABLE_KEY] };
        const { state: found } = await state().getState(ask, { timeoutMs: deadlineMs });
        const value = found?.entries.find(({ key, schema }) => key === DURABLE_KEY && schema === DURABLE_SCHEMA)?.value;
        if (found === undefined || value === undefined) return { kind: "missing" };
        return { kind: "found", version: Number(found.version), epoch: Number(found.epoch), bytes: value };
      } catch {
        return { kind: "unreachable" };
      }
    },
    async write({ session, epoch, expected, bytes }) {
      writes += 1;
      try {
        const put = [{ key: DURABLE_KEY, value: new Uint8Array(bytes), schema: DURABLE_SCHEMA }];
        const about = { session: keyOf(session), epoch: BigInt(epoch), expectedVersion: BigInt(expected), put };
        const ask = { ...about, remove: [], idempotencyKey: `${life}-${writes}` };
        const { version } = await state().compareAndSetState(ask, { timeoutMs: limits.STATE_WRITE_MS_MAX });
        return { kind: "written", version: Number(version) };
      } catch (failure) {
        return refusalOf(rpcErrorOf(failure, "lease").detail.reason);
      }
    },
    async remove(session, epoch) {
      try {
        const ask = { session: keyOf(session), epoch: BigInt(epoch) };
        await state().deleteState(ask, { timeoutMs: limits.STATE_WRITE_MS_MAX });
      } catch {
        // The lease service forgets ended sessions by itself.
      }
    },
  };
}

function refusalOf(reason: ErrorReason): StateWritten {
  if (reason === ErrorReason.VERSION_CONFLICT) return { kind: "conflict" };
  const fenced = [ErrorReason.AUTHORITY_EPOCH_MISMATCH, ErrorReason.LEASE_LOST, ErrorReason.STORE_INCARNATION_MISMATCH];
  return { kind: fenced.includes(reason) ? "fenced" : "failed" };
}

function keyOf({ tenantId, sessionId }: SessionName) {
  return { tenantId, sessionId };
}
