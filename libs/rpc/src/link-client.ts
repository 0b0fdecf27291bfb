/** The adapter's side of a link: dials both connections of a pair, and again with a higher incarnation when it dies. */
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { ControlRequestSchema, LinkService, MediaRequestSchema } from "@rspp/gen/rspp/runtime/v1/link_service_pb";
import type { Connection } from "@rspp/protocol/link-types";
import type { Duplex } from "./duplex.ts";
import { type RpcError, rpcError, toRpcError } from "./errors.ts";
import { type GrpcChannel, openChannel, openDuplex } from "./grpc-client.ts";
import { limits } from "./limits.ts";
import type { LinkHandlers } from "./link-api.ts";
import { LinkEnd, type LinkEndOptions } from "./link-end.ts";
import { checkItems, checkLater, limitsFrame, makeHello, readHello } from "./link-hello.ts";
import type { ClientTls } from "./tls.ts";

export interface LinkClientOptions extends LinkEndOptions {
  /** `host:port` of the runtime's link server. */
  readonly address: string;
  /** Where the media connection goes, when not to `address`. */
  readonly mediaAddress?: string;
  readonly tls?: ClientTls;
  /** Of this process and link alone; another process under the same id would take the pair over. */
  readonly linkId: string;
  /** This instance, as its peers see it. */
  readonly peerId: string;
  readonly build: string;
  /** Text headers of both calls, e.g. `authorization`; asked for at each dial. */
  headers?(): Readonly<Record<string, string>>;
  /** Dial again when a pair dies; default true. */
  readonly reconnect?: boolean;
  /** 0 to 1, spreads the waits between dials. */
  random?(): number;
  onDialFailed?(error: RpcError, waitMs: number): void;
}

export interface LinkClient {
  readonly end: LinkEnd;
  /** Resolves when a pair is up; at once when one is. Rejects with the last error after `timeoutMs`. */
  ready(timeoutMs?: number): Promise<void>;
  /** Ends the pair and dials no more. */
  close(): void;
}

interface Dial {
  readonly incarnation: number;
  readonly channels: readonly GrpcChannel[];
  /** Ends a call that does not end by itself, e.g. for a peer that reads nothing. */
  readonly aborts: (() => void)[];
  readonly deadline: NodeJS.Timeout;
  over: boolean;
}

export function createLinkClient(options: LinkClientOptions, handlers: LinkHandlers): LinkClient {
  return new Dialer(options, handlers);
}

class Dialer implements LinkClient {
  readonly end: LinkEnd;
  readonly #options: LinkClientOptions;
  #incarnation = 0;
  #dial: Dial | null = null;
  #failures = 0;
  #lastError: RpcError | null = null;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;
  #waiting: (() => void)[] = [];

  constructor(options: LinkClientOptions, handlers: LinkHandlers) {
    this.#options = options;
    this.end = new LinkEnd("adapter", options, {
      ...bindHandlers(handlers),
      onPairUp: (incarnation) => {
        this.#failures = 0;
        if (this.#dial !== null) clearTimeout(this.#dial.deadline);
        for (const resolve of this.#waiting.splice(0)) resolve();
        handlers.onPairUp?.(incarnation);
      },
      onPairDown: (incarnation, reason) => {
        handlers.onPairDown?.(incarnation, reason);
        if (this.#dial?.incarnation === incarnation) {
          this.#ended(
            this.#dial,
            rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain: options.domain, metadata: { pair: reason } }),
          );
        }
      },
    });
    this.#start();
  }

  ready(timeoutMs: number = limits.RPC_DEADLINE_DEFAULT_MS): Promise<void> {
    if (this.end.stats.phase === "up") return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((waiter) => waiter !== done);
        reject(this.#lastError ?? rpcError(ErrorReason.DEADLINE_EXCEEDED, { domain: this.#options.domain }));
      }, timeoutMs);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.push(done);
    });
  }

  close(): void {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    const dial = this.#dial;
    this.end.close();
    if (dial !== null) this.#ended(dial, null);
  }

  #start(): void {
    this.#retry = null;
    this.#incarnation++;
    const { address, mediaAddress = address, tls, domain } = this.#options;
    const secured = tls === undefined ? {} : { tls };
    const channels = [
      openChannel({ address, ...secured }),
      openChannel({ address: mediaAddress, ...secured }),
    ] as const;
    const dial: Dial = {
      incarnation: this.#incarnation,
      channels,
      aborts: [],
      deadline: setTimeout(() => {
        this.#ended(dial, rpcError(ErrorReason.DEADLINE_EXCEEDED, { domain, metadata: { waits_for: "hello" } }));
      }, limits.LINK_HELLO_DEADLINE_MS),
      over: false,
    };
    this.#dial = dial;
    this.#openControl(dial, channels[0]);
    this.#openMedia(dial, channels[1]);
  }

  #openControl(dial: Dial, channel: GrpcChannel): void {
    const { domain, linkId, peerId, build, headers } = this.#options;
    let joined = false;
    const duplex = openDuplex(
      channel,
      LinkService.method.control,
      {
        onMessage: (message) =>
          this.#guard(dial, duplex, () => {
            checkItems("frames", message.frames, domain);
            if (joined) checkLater(message.hello, domain);
            else {
              readHello(message.hello, domain);
              joined = true;
              this.end.attachControl(dial.incarnation, {
                send: (frames, written) => duplex.write(create(ControlRequestSchema, { frames }), written),
                close: (error) => closeDuplex(duplex, error),
              });
            }
            this.end.receiveControl(dial.incarnation, message.frames);
          }),
        onEnd: () => duplex.end(),
        onClosed: (error) => this.#lost(dial, "control", joined, error),
      },
      { headers: headers?.() ?? {} },
    );
    dial.aborts.push(() =>
      duplex.fail(rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain, metadata: { pair: "closed" } })),
    );
    const hello = makeHello({ linkId, incarnation: dial.incarnation, peerId, build });
    duplex.write(create(ControlRequestSchema, { hello }));
    const sessionsMax = this.#options.config?.sessionsMax;
    if (sessionsMax !== undefined) duplex.write(create(ControlRequestSchema, { frames: [limitsFrame(sessionsMax)] }));
  }

  #openMedia(dial: Dial, channel: GrpcChannel): void {
    const { domain, linkId, peerId, build, headers } = this.#options;
    let joined = false;
    const duplex = openDuplex(
      channel,
      LinkService.method.media,
      {
        onMessage: (message) =>
          this.#guard(dial, duplex, () => {
            checkItems("events", message.events, domain);
            if (joined) checkLater(message.hello, domain);
            else {
              readHello(message.hello, domain);
              joined = true;
              this.end.attachMedia(dial.incarnation, {
                send: (events, written) => duplex.write(create(MediaRequestSchema, { events }), written),
                close: (error) => closeDuplex(duplex, error),
              });
            }
            this.end.receiveMedia(dial.incarnation, message.events);
          }),
        onEnd: () => duplex.end(),
        onClosed: (error) => this.#lost(dial, "media", joined, error),
      },
      { headers: headers?.() ?? {} },
    );
    dial.aborts.push(() =>
      duplex.fail(rpcError(ErrorReason.DEPENDENCY_UNAVAILABLE, { domain, metadata: { pair: "closed" } })),
    );
    duplex.write(
      create(MediaRequestSchema, { hello: makeHello({ linkId, incarnation: dial.incarnation, peerId, build }) }),
    );
  }

  #guard<Out>(dial: Dial, duplex: Duplex<Out>, take: () => void): void {
    if (dial.over) return;
    try {
      take();
    } catch (failure) {
      duplex.fail(toRpcError(failure, this.#options.domain));
    }
  }

  #lost(dial: Dial, connection: Connection, joined: boolean, error: RpcError | null): void {
    if (dial.over) return;
    // A server that knows a higher one says so; the next dial goes past it.
    const knownIncarnation = Number(error?.detail.metadata.known_incarnation ?? 0);
    if (Number.isSafeInteger(knownIncarnation)) this.#incarnation = Math.max(this.#incarnation, knownIncarnation);
    this.#lastError = error ?? this.#lastError;
    if (joined) this.end.lost(connection, dial.incarnation);
    this.#ended(dial, error);
  }

  #ended(dial: Dial, error: RpcError | null): void {
    if (dial.over) return;
    dial.over = true;
    clearTimeout(dial.deadline);
    if (this.#dial === dial) this.#dial = null;
    if (this.end.stats.incarnation === dial.incarnation) this.end.close();
    // An orderly end has a moment to reach the peer before the connection goes.
    const closing = setTimeout(() => {
      for (const abort of dial.aborts) abort();
      for (const channel of dial.channels) channel.close();
    }, 250);
    closing.unref();
    if (error !== null) this.#lastError = error;
    if (this.#closed || this.#options.reconnect === false) return;
    const waitMs = this.#backoffMs();
    if (error !== null) this.#options.onDialFailed?.(error, waitMs);
    this.#retry = setTimeout(() => this.#start(), waitMs);
  }

  #backoffMs(): number {
    const cap = Math.min(
      limits.LINK_RECONNECT_MAX_MS,
      limits.LINK_RECONNECT_FIRST_MS * 2 ** Math.min(16, this.#failures++),
    );
    return cap / 2 + (cap / 2) * (this.#options.random ?? Math.random)();
  }
}

function bindHandlers(handlers: LinkHandlers): LinkHandlers {
  return {
    onSession: (session) => handlers.onSession(session),
    onGoAway: (message) => handlers.onGoAway?.(message),
    onFault: (fault) => handlers.onFault?.(fault),
    onNotice: (notice) => handlers.onNotice?.(notice),
  };
}

function closeDuplex<Out>(duplex: Duplex<Out>, error: RpcError | null): void {
  if (error === null) duplex.end();
  else duplex.fail(error);
}
