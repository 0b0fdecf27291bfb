/**
 * Sessions over a link, as each side sees them: the runtime admits what adapters ask for (`acceptLinkSessions`), an adapter
 * opens sessions on whichever runtime their token names (`createRemoteSessionOpener`). In between travel the messages of
 * libs/ports/src/transport.ts, one for one (architecture.md, decisions 5 to 7; kernel.md §6, §7).
 */

import type { Result } from "@rspp/base/result";
import type { ErrorDetail } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { RoutingView } from "@rspp/gen/rspp/registry/v1/registry_pb";
import type { TakeoverSession } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type {
  OpenedSession,
  OpenRefusal,
  SessionNote,
  SessionOpener,
  SessionRequest,
} from "@rspp/ports/session-opener";
import type { SessionEnd, TransportEnd } from "@rspp/ports/transport";
import type { RpcConnection } from "@rspp/rpc/clients";
import type { LinkHandlers } from "@rspp/rpc/link-api";
import type { LinkEnd, LinkEndOptions } from "@rspp/rpc/link-end";
import type { LinkPeer } from "@rspp/rpc/link-server";
import type { ClientTls } from "@rspp/rpc/tls";

// --- the runtime's side ---

/** What an adapter asks for. The link has checked that the grant names the bound session and epoch; nobody its signature. */
export interface LinkOpen {
  readonly tenant: string;
  readonly session: string;
  /** `name@version`. */
  readonly pipelineVersion: string;
  /** Bound epoch; the grant's. */
  readonly epoch: number;
  /** Session token, to be verified. A secret. */
  readonly token: string;
  /** Signature and holder are to be verified against the keys of the lease service. */
  readonly grant: SignedGrant;
  /** Form of the reply's audio that the caller's end prefers. */
  readonly outputFormat: AudioFormat;
  /** JSON values by name. */
  readonly variables: Readonly<Record<string, string>>;
  /** W3C trace context of the adapter; "" for none. */
  readonly traceparent: string;
  /** Where the session sends what is for the caller; kept until the adapter was answered. */
  readonly transport: TransportEnd;
  /** Who asks. */
  readonly peer: LinkPeer;
  /**
   * Tells the adapter a grant of a newer epoch (kernel.md §7). What the session sends under that epoch waits until the
   * adapter knows it; `LinkOpened.onFloor` tells when.
   */
  announceFloor(grant: SignedGrant): void;
  /** Null: a new session. Else another runtime held it before; nothing of it is to be believed but what the grant proves. */
  readonly takeover: TakeoverSession | null;
  /** Asks the adapter to go on elsewhere; `LinkOpened.onHandedOver` tells that it did. */
  handOver(ask: HandoverAsk): void;
}

export interface HandoverAsk {
  readonly reason: "draining" | "migration";
  /** Runtime instance; "" whichever the registry chooses. */
  readonly target: string;
  /** Of the durable state that holds all up to now; 0 none was written. */
  readonly stateVersion: number;
  /** Milliseconds within which it must be gone; 0 no limit. */
  readonly deadlineMs: number;
}

/** Where a successor goes on. */
export interface TakenOver {
  readonly state: "found" | "missing" | "unreachable";
  /** 0 none. */
  readonly stateVersion: number;
  /** Caller audio up to this frame is settled: what follows is to be sent again. */
  readonly audioThrough: number;
  /** The transport's control up to this sequence is acted on. */
  readonly controlThrough: number;
  /** Turn of the predecessor that the successor closed; 0 none. */
  readonly closedTurn: number;
}

/** A session that was opened. */
export interface LinkOpened {
  readonly session: SessionEnd;
  /** When not the one that came, e.g. renewed meanwhile. */
  readonly grant?: SignedGrant;
  /** How long the session waits for an adapter that was cut off, milliseconds; default 0: it ends at once. */
  readonly reconnectMs?: number;
  /** As in `OpenedSession`; called with what the adapter's clients asked for. */
  readonly observe?: (kinds: readonly SessionNote["kind"][], tell: (note: SessionNote) => void) => () => void;
  /** The adapter's floor stands at `epoch`. */
  readonly onFloor?: (epoch: number) => void;
  /** Set when it was taken over. */
  readonly takeover?: TakenOver;
  /** The adapter goes on elsewhere, as it was asked: the session is over here, and nobody is to be told. */
  readonly onHandedOver?: () => void;
  /** The adapter is gone for good; unless it had closed or ended, the session was told `ended` before. Once. */
  readonly onGone?: (reason: string) => void;
}

/** Must settle within LINK_OPEN_DEADLINE_MS; later, the session is ended at once. A rejection refuses the session. */
export type LinkOpenHandler = (open: LinkOpen) => Promise<Result<LinkOpened, OpenRefusal>>;

export interface LinkSessionsOptions {
  readonly onOpen: LinkOpenHandler;
  readonly clock: Clock;
  /** Service name in errors; default `runtime`. */
  readonly domain?: string;
  /** `onOpen` rejected: a defect, for the log. */
  readonly onFailure?: (failure: unknown) => void;
  /** A session was broken off or refused; the detail is what the adapter was told. For logs, metrics and audit. */
  readonly onRefused?: (where: { tenant: string; session: string; peer: LinkPeer }, detail: ErrorDetail) => void;
}

/** For `createLinkServer({onLink})`: what takes the sessions of one link. */
export type LinkSessionsAcceptor = (peer: LinkPeer, end: LinkEnd) => LinkHandlers;

export interface LinkSessions {
  readonly onLink: LinkSessionsAcceptor;
  stats(): LinkSessionsStats;
  /** Ends every session with `reason`, e.g. `draining`; further ones are refused with it. */
  close(reason?: string): void;
}

export interface LinkSessionsStats {
  /** Being opened. */
  readonly opening: number;
  readonly open: number;
  /** Whose adapter is away. */
  readonly waiting: number;
  readonly opened: number;
  readonly reattached: number;
  /** By name of the catalogue of errors. */
  readonly refused: Readonly<Record<string, number>>;
  /** What could not be said on a link, by kind of message. */
  readonly unsent: Readonly<Record<string, number>>;
  /** Resent messages that were known. */
  readonly duplicates: number;
  /** Positioned messages that acted before their media, which had not come within 40 ms (kernel.md §6). */
  readonly forced?: number;
}

// --- the adapter's side ---

/** What a grant says, after its signature was checked. */
export interface VerifiedGrant {
  readonly tenant: string;
  readonly session: string;
  readonly epoch: number;
  /** "" when revoked. */
  readonly holder: string;
  /** Milliseconds since 1970 UTC. */
  readonly expiresWallMs: number;
  readonly receivers: readonly string[];
}

/** Checks grants with the lease service's public keys; why not, in a word, for logs. Never rejects. */
export interface GrantVerifier {
  verify(grant: SignedGrant): Promise<Result<VerifiedGrant, "form" | "key_unknown" | "signature">>;
}

/** A runtime in this very process: its admission is called as it is, no link is made. */
export interface LocalRuntime {
  readonly instance: string;
  open(request: SessionRequest, grant: SignedGrant): Promise<Result<OpenedSession, OpenRefusal>>;
}

export interface RemoteSessionOpenerOptions {
  readonly clock: Clock;
  /** This adapter instance: receiver of leases, peer id on links. */
  readonly adapterId: string;
  readonly build: string;
  readonly lease: RpcConnection;
  readonly registry: RpcConnection;
  /** Checks grants of newer epochs; default: the keys of `lease`. */
  readonly grants?: GrantVerifier;
  readonly local?: LocalRuntime;
  /** Service name in errors; default `transport`. */
  readonly domain?: string;
  readonly link?: {
    readonly tls?: ClientTls;
    /** Text headers of both calls of a link; asked for at each dial. */
    readonly headers?: () => Readonly<Record<string, string>>;
    readonly config?: LinkEndOptions["config"];
    /** Pairs per runtime, 1 to 4; sessions are spread over them. Default 1. */
    readonly linksPerRuntime?: number;
    /** Dials runtimes as soon as the routing view knows them, LINKS_WARM_MAX at most: no first call waits for it. Default false. */
    readonly warm?: boolean;
    /** Distinguishes this life of the process from its predecessor; default: random. */
    readonly lifeId?: string;
  };
  readonly deadlines?: {
    /** All of an opening together, milliseconds; default LINK_OPEN_DEADLINE_MS. */
    readonly openMs?: number;
    /** A link that is not up within it counts as away, milliseconds; default LINK_READY_MS. */
    readonly readyMs?: number;
    /** Wanted lease term, milliseconds; default 0: the lease service's. */
    readonly leaseTermMs?: number;
    /** A lost pair that is not back within it, milliseconds: its sessions go on elsewhere. Default FAILOVER_AFTER_MS. */
    readonly failoverAfterMs?: number;
  };
  /** Sessions go on on another runtime when theirs is lost or asks for it; default true. */
  readonly failover?: boolean;
  /** What the session could not do, for logs; holds no payload and no secret. */
  readonly onNotice?: (notice: OpenerNotice) => void;
}

export type OpenerNotice =
  /** The registry is away: an older view was acted on. */
  | { readonly kind: "view_stale"; readonly version: string; readonly ageMs: number }
  | { readonly kind: "link_down"; readonly address: string; readonly reason: string; readonly sessions: number }
  | { readonly kind: "dial_failed"; readonly address: string; readonly reason: string; readonly waitMs: number }
  | { readonly kind: "session_lost"; readonly tenant: string; readonly session: string; readonly reason: string }
  | { readonly kind: "session_reattached"; readonly tenant: string; readonly session: string; readonly resent: number }
  | {
      readonly kind: "session_moved";
      readonly tenant: string;
      readonly session: string;
      readonly instance: string;
      readonly state: TakenOver["state"];
      readonly resent: number;
    }
  | {
      readonly kind: "move_failed";
      readonly tenant: string;
      readonly session: string;
      readonly reason: string;
      /** Who refused: no runtime was found for it, or the one that was does not take it. */
      readonly by: "placement" | "runtime";
      readonly remedy: string;
    }
  | { readonly kind: "floor_refused"; readonly tenant: string; readonly session: string; readonly reason: string };

export interface RemoteSessionOpener {
  readonly open: SessionOpener;
  stats(): RemoteOpenerStats;
  /** The routing view of a snapshot, or word that the last one is current (null): it is not asked for meanwhile. */
  routing(view: RoutingView | null): void;
  /** Ends every session with `draining` and every link. */
  close(): void;
}

export interface RemoteOpenerStats {
  readonly view: {
    readonly version: string;
    readonly ageMs: number;
    readonly stale: boolean;
    readonly refreshes: number;
  };
  readonly links: readonly { readonly address: string; readonly up: boolean; readonly sessions: number }[];
  readonly sessions: number;
  readonly opened: number;
  readonly reattached: number;
  /** Went on on another runtime: for the loss of theirs, or as it asked. */
  readonly failedOver: number;
  readonly migrated: number;
  /** Taken over from another adapter, whose client came back here. */
  readonly adopted: number;
  readonly lost: number;
  /** By reason of `OpenRefusal`. */
  readonly refused: Readonly<Record<string, number>>;
  /** What could not be said on a link, by kind of message. */
  readonly unsent: Readonly<Record<string, number>>;
  readonly duplicates: number;
}

/** Declared here for those who wire processes: the functions of link-accept.ts and session-opener.ts. */
export type AcceptLinkSessions = (options: LinkSessionsOptions) => LinkSessions;
export type CreateRemoteSessionOpener = (options: RemoteSessionOpenerOptions) => RemoteSessionOpener;
