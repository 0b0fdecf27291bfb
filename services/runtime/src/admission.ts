/**
 * The one door for sessions: what a link's open message and an adapter in the same process both go through, with the same
 * claims, the same grant and the same checks.
 */
import type { Result } from "@rspp/base/result";
import type { Grant, SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { SessionTokenClaims } from "@rspp/gen/rspp/registry/v1/registry_pb";
import type { TakeoverSession } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { OpenedSession, OpenRefusal } from "@rspp/ports/session-opener";
import type { TransportEnd } from "@rspp/ports/transport";
import type { HandoverAsk, TakenOver } from "@rspp/remote/link-session-types";
import type { RuntimeSession } from "./runtime.ts";

/** What came with the wish for a session, not yet believed. */
export interface AdmissionProofs {
  /** Session token of the registry. A secret. */
  readonly token: string;
  readonly grant: SignedGrant;
  /** What the link bound, or what the adapter in this process says it opens. */
  readonly bound: {
    readonly tenantId: string;
    readonly sessionId: string;
    /** `name@version`. */
    readonly pipelineVersion: string;
    /** Authority epoch. */
    readonly epoch: number;
  };
  /** A session that lives already: its token may have run out, the lease service's grant says that it goes on here. */
  readonly takeover?: boolean;
}

export interface VerifiedProofs {
  readonly claims: SessionTokenClaims;
  readonly grant: Grant;
}

/** Checks signatures and the binding; what it gives may be handed to {@link Admission.open}. Never rejects. */
export interface ProofVerifier {
  verify(proofs: AdmissionProofs): Promise<Result<VerifiedProofs, OpenRefusal>>;
}

export interface AdmissionRequest extends VerifiedProofs {
  /** Where the runtime sends what is for this caller; it may do so at once, even before the answer. */
  readonly transport: TransportEnd;
  /** JSON values by name; those of the token come first. */
  readonly variables?: Readonly<Record<string, string>>;
  /** W3C trace context of who asks: the session's spans become its children. */
  readonly traceparent?: string;
  /**
   * The lease was rotated to this same runtime: called before anything is sent under the new epoch, with the lease service's
   * signed grant for the adapter's floor.
   */
  raiseEpoch?(epoch: number, proof: SignedGrant | null): void;
  /** Another runtime held the session before. */
  readonly takeover?: TakeoverSession | null;
  /** Asks the adapter to go on elsewhere; absent where it cannot. */
  handOver?(ask: HandoverAsk): void;
}

export interface Admitted {
  readonly session: RuntimeSession;
  /** Authority epoch the session starts under. */
  readonly epoch: number;
  /** `name@version`, as the session runs it. */
  readonly pipelineVersion: string;
  /** Set when it was taken over. */
  readonly taken?: TakenOver;
  /** How long the session waits for a caller who is cut off, milliseconds. */
  readonly reconnectMs: number;
  /** Metrics, debug events and errors, until the returned function is called. */
  readonly observe: NonNullable<OpenedSession["observe"]>;
}

export interface Admission {
  /** This runtime instance: the holder that a grant must name. */
  readonly instanceId: string;
  /** Settles within the deadlines of the services it asks; never rejects. */
  open(request: AdmissionRequest): Promise<Result<Admitted, OpenRefusal>>;
}

/** What `rspp up` hands from the runtime to the adapter in the same process. */
export type AdmissionHook = (admission: Admission, proofs: ProofVerifier) => void;
