/** The runtime's side of links: pairs up the connections that adapters open and drives one machine per link. */
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  type ControlRequest,
  type ControlResponse,
  ControlResponseSchema,
  LinkService,
  type MediaRequest,
  type MediaResponse,
  MediaResponseSchema,
} from "@rspp/gen/rspp/runtime/v1/link_service_pb";
import { limits as protocolLimits } from "@rspp/protocol/limits";
import type { Connection } from "@rspp/protocol/link-types";
import type { Duplex, DuplexHandlers } from "./duplex.ts";
import { rpcError } from "./errors.ts";
import { bidiMethod, type CallInfo, type GrpcService } from "./grpc-server.ts";
import { limits } from "./limits.ts";
import type { LinkHandlers } from "./link-api.ts";
import { LinkEnd, type LinkEndOptions } from "./link-end.ts";
import { checkItems, checkLater, type HelloInit, limitsFrame, makeHello, readHello } from "./link-hello.ts";

/** Who is at the other end of a link. */
export interface LinkPeer {
  readonly linkId: string;
  readonly peerId: string;
  readonly build: string;
}

export interface LinkServerOptions extends LinkEndOptions {
  /** This instance, as its peers see it. */
  readonly peerId: string;
  readonly build: string;
  /** What takes the sessions of a link. Called once per link, before its first pair is up. */
  onLink(peer: LinkPeer, end: LinkEnd): LinkHandlers;
  /** Refuses a connection by throwing an RpcError, e.g. by token or certificate. */
  authorize?(info: CallInfo, peer: LinkPeer): void;
}

export interface LinkServer {
  /** For {@link startGrpcServer}. */
  readonly service: GrpcService;
  /** Ends known at this moment, dead pairs that may come back included. */
  links(): readonly LinkEnd[];
  /** Ends every pair; further connections are refused with `draining`. */
  close(): void;
}

/** Frames are checked one by one where they are read, so that one illegal frame costs its own session alone. */
const perFrame = { validate: false };

interface Known {
  readonly peer: LinkPeer;
  readonly end: LinkEnd;
  forget: NodeJS.Timeout | null;
}

export function createLinkServer(options: LinkServerOptions): LinkServer {
  const known = new Map<string, Known>();
  let closed = false;
  const find = (hello: HelloInit, info: CallInfo): LinkEnd => {
    const { linkId, peerId, build } = hello;
    if (closed) throw rpcError(ErrorReason.DRAINING, { domain: options.domain });
    options.authorize?.(info, { linkId, peerId, build });
    const found = known.get(linkId);
    if (found === undefined) return addLink(options, known, { linkId, peerId, build });
    if (found.peer.peerId !== peerId) {
      const remedy = "Choose a link_id of your own.";
      throw rpcError(ErrorReason.PERMISSION_DENIED, { domain: options.domain, metadata: { link_id: linkId }, remedy });
    }
    return found.end;
  };
  return {
    service: {
      service: LinkService,
      methods: {
        control: bidiMethod(
          LinkService.method.control,
          (duplex, info) => acceptControl(options, find, duplex, info),
          perFrame,
        ),
        media: bidiMethod(
          LinkService.method.media,
          (duplex, info) => acceptMedia(options, find, duplex, info),
          perFrame,
        ),
      },
    },
    links: () => [...known.values()].map(({ end }) => end),
    close: () => {
      closed = true;
      for (const { end, forget } of known.values()) {
        if (forget !== null) clearTimeout(forget);
        end.close();
      }
      known.clear();
    },
  };
}

function addLink(options: LinkServerOptions, known: Map<string, Known>, peer: LinkPeer): LinkEnd {
  if (known.size >= limits.LINK_PAIRS_MAX) {
    const idle = [...known.values()].find(({ end }) => end.stats.phase === "down");
    if (idle === undefined) {
      const metadata = { links_max: String(limits.LINK_PAIRS_MAX) };
      throw rpcError(ErrorReason.CAPACITY_EXHAUSTED, { domain: options.domain, metadata, retryAfterMs: 1_000 });
    }
    if (idle.forget !== null) clearTimeout(idle.forget);
    known.delete(idle.peer.linkId);
  }
  let handlers: LinkHandlers | undefined;
  const end: LinkEnd = new LinkEnd("runtime", options, {
    onSession: (session) => handlers?.onSession(session) ?? { onEvent: () => undefined },
    onPairUp: (incarnation) => {
      if (entry.forget !== null) clearTimeout(entry.forget);
      entry.forget = null;
      handlers?.onPairUp?.(incarnation);
    },
    onPairDown: (incarnation, reason) => {
      if (entry.forget !== null) clearTimeout(entry.forget);
      entry.forget = setTimeout(() => known.delete(peer.linkId), limits.LINK_FORGET_MS);
      entry.forget.unref();
      handlers?.onPairDown?.(incarnation, reason);
    },
    onGoAway: (message) => handlers?.onGoAway?.(message),
    onFault: (fault) => handlers?.onFault?.(fault),
    onNotice: (notice) => handlers?.onNotice?.(notice),
  });
  const entry: Known = { peer, end, forget: null };
  known.set(peer.linkId, entry);
  handlers = options.onLink(peer, end);
  return end;
}

type Find = (hello: HelloInit, info: CallInfo) => LinkEnd;

/** A connection of one incarnation, from its hello on. */
interface Joined {
  readonly end: LinkEnd;
  readonly incarnation: number;
}

function acceptControl(
  options: LinkServerOptions,
  find: Find,
  duplex: Duplex<ControlResponse>,
  info: CallInfo,
): DuplexHandlers<ControlRequest> {
  return accept<ControlRequest, ControlResponse>("control", options.domain, duplex, info, {
    join: (message) => {
      const hello = readHello(message.hello, options.domain);
      const end = find(hello, info);
      const { peerId, build } = options;
      const sessionsMax = options.config?.sessionsMax ?? protocolLimits.LINK_SESSIONS_MAX;
      const answer = makeHello({ linkId: hello.linkId, incarnation: hello.incarnation, peerId, build });
      duplex.write(create(ControlResponseSchema, { hello: answer, frames: [limitsFrame(sessionsMax)] }));
      end.attachControl(hello.incarnation, {
        send: (frames, written) => duplex.write(create(ControlResponseSchema, { frames }), written),
        close: (error) => closeServerSide(duplex, info, error),
      });
      return { end, incarnation: hello.incarnation };
    },
    check: (message) => checkItems("frames", message.frames, options.domain),
    later: (message) => checkLater(message.hello, options.domain),
    take: ({ end, incarnation }, message) => end.receiveControl(incarnation, message.frames),
  });
}

function acceptMedia(
  options: LinkServerOptions,
  find: Find,
  duplex: Duplex<MediaResponse>,
  info: CallInfo,
): DuplexHandlers<MediaRequest> {
  return accept<MediaRequest, MediaResponse>("media", options.domain, duplex, info, {
    join: (message) => {
      const hello = readHello(message.hello, options.domain);
      const end = find(hello, info);
      const { peerId, build } = options;
      const answer = makeHello({ linkId: hello.linkId, incarnation: hello.incarnation, peerId, build });
      duplex.write(create(MediaResponseSchema, { hello: answer }));
      end.attachMedia(hello.incarnation, {
        send: (events, written) => duplex.write(create(MediaResponseSchema, { events }), written),
        close: (error) => closeServerSide(duplex, info, error),
      });
      return { end, incarnation: hello.incarnation };
    },
    check: (message) => checkItems("events", message.events, options.domain),
    later: (message) => checkLater(message.hello, options.domain),
    take: ({ end, incarnation }, message) => end.receiveMedia(incarnation, message.events),
  });
}

function accept<In, Out>(
  connection: Connection,
  domain: string,
  duplex: Duplex<Out>,
  _info: CallInfo,
  steps: {
    join(message: In): Joined;
    check(message: In): void;
    later(message: In): void;
    take(joined: Joined, message: In): void;
  },
): DuplexHandlers<In> {
  let joined: Joined | null = null;
  const deadline = setTimeout(() => {
    duplex.fail(rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { expected: "hello" } }));
  }, limits.LINK_HELLO_DEADLINE_MS);
  return {
    onMessage: (message) => {
      steps.check(message);
      if (joined === null) {
        joined = steps.join(message);
        clearTimeout(deadline);
      } else steps.later(message);
      steps.take(joined, message);
    },
    onEnd: () => {
      if (joined !== null) duplex.end();
      else duplex.fail(rpcError(ErrorReason.OUT_OF_ORDER, { domain, metadata: { expected: "hello" } }));
    },
    onClosed: () => {
      clearTimeout(deadline);
      joined?.end.lost(connection, joined.incarnation);
    },
  };
}

/** A peer that reads nothing takes no status either: its connection ends, after a moment for those that do. */
function closeServerSide<Out>(
  duplex: Duplex<Out>,
  info: CallInfo,
  error: Parameters<Duplex<Out>["fail"]>[0] | null,
): void {
  if (error === null) duplex.end();
  else duplex.fail(error);
  const forced = setTimeout(() => {
    if (!duplex.closed) info.destroyConnection();
  }, 1_000);
  forced.unref();
}
