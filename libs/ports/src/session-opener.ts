/**
 * How a transport adapter opens a session: what a verified token binds, what is asked of the platform, and what it gives
 * back. One port, whether the runtime is in this process or behind a link.
 */
import type { Result } from "@rspp/base/result";
import type { AudioFormat } from "./provider.ts";
import type { SessionEnd, TransportEnd } from "./transport.ts";

/** What a verified token binds (F-088, F-099). */
export interface TokenClaims {
  tenant: string;
  /** The session that the route was made for. */
  session: string;
  /** `name@version` of the pipeline. */
  pipelineVersion: string;
  /** Runtime that the registry chose; "" any. */
  instance: string;
  /** Milliseconds since 1970 UTC. */
  expiresWallMs: number;
  /** JSON values by name. */
  variables: Readonly<Record<string, string>>;
}

export interface SessionRequest {
  claims: TokenClaims;
  /** As the client sent it: the runtime verifies it again. A secret. */
  token: string;
  /** Where the runtime sends what is for this caller; it may do so at once. */
  transport: TransportEnd;
  /** What the client speaks; the runtime is given pcm_s16le, 16 kHz, mono whatever it is. */
  formats: { input: AudioFormat; output: AudioFormat };
  /**
   * Set when the session is live and another adapter had it: its client came back here. It goes on on another runtime than
   * the one it leaves. A client that comes back to its own adapter is reattached there, and the session knows nothing of it.
   */
  adopt?: SessionSeen;
  /** W3C trace context of the adapter: the session's spans become its children. */
  traceparent?: string;
  /** Grants of a newer epoch for this receiver, which then believes only that one; false when it would lower the floor. */
  raiseEpoch(epoch: number): boolean;
}

/** A session as its client saw it last. */
export interface SessionSeen {
  /** Highest turn; 0 none. */
  lastTurn: number;
  /** Whose output is not played to its end. */
  openTurn: {
    turn: number;
    generation: number;
    /** Media time of it that was played, microseconds. */
    playedUs: number;
    committed: boolean;
    /** All its output has come. */
    complete: boolean;
  } | null;
  muted: boolean;
}

/** What an observer of the session sees, for clients that ask for metrics, debug events and errors. */
export type SessionNote =
  /** `edge`: absent where none is meant. */
  | { kind: "metrics"; name: string; value: number; turn: number; node: string; edge?: string }
  | { kind: "debug"; text: string; fields: Readonly<Record<string, string | number>> }
  | { kind: "error"; code: string; detail: string };

export interface OpenedSession {
  session: SessionEnd;
  /** Granted authority epoch: the floor this receiver starts from (kernel.md §7). */
  epoch: number;
  /** As opened; must be what the token says, else the client is refused. */
  tenant: string;
  sessionId: string;
  pipelineVersion: string;
  /** How long the session waits for a caller who is cut off, milliseconds; default RESUME_WITHIN_MS. */
  reconnectMs?: number;
  /** Set when it was adopted: the caller's audio and control that the session knows already; new ones are numbered after. */
  adopted?: { audioThrough: number; controlThrough: number };
  /** Leaves it to another adapter: it waits for that at its runtime, and hears nothing of this one any more. */
  leave?(): void;
  /** Told of metrics, debug events and errors until the returned function is called. */
  observe?(kinds: readonly SessionNote["kind"][], tell: (note: SessionNote) => void): () => void;
}

/** Why a session is not opened; names are those of the catalogue of errors, in lower case. */
export interface OpenRefusal {
  reason:
    | "already_exists"
    | "not_found"
    | "permission_denied"
    | "capacity_exhausted"
    | "quota_exceeded"
    | "rate_limited"
    | "draining"
    | "recording_unavailable"
    | "authority_epoch_mismatch"
    | "dependency_unavailable"
    | "pipeline_invalid"
    | "runtime_internal_error";
  /** What to do, for people. */
  remedy: string;
}

/** Settles within its own deadline; never rejects. */
export type SessionOpener = (request: SessionRequest) => Promise<Result<OpenedSession, OpenRefusal>>;
