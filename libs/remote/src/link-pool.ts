/** Links to runtimes: a few pairs per address, over which sessions are spread; closed when nobody needs them any more. */
import { createHash } from "node:crypto";
import { msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { Clock } from "@rspp/ports/clock";
import { toRpcError } from "@rspp/rpc/errors";
import type { LinkHandlers, LinkSessionHandlers, LinkSessionPort, SessionConstants } from "@rspp/rpc/link-api";
import { createLinkClient, type LinkClient } from "@rspp/rpc/link-client";
import { errorReasonNames } from "@rspp/wire/names";
import { type Refused, refused } from "./link-adapter-binding.ts";
import { limits } from "./link-limits.ts";
import type { OpenerNotice, RemoteSessionOpenerOptions } from "./link-session-types.ts";

export interface LinkPoolOptions {
  readonly clock: Clock;
  readonly adapterId: string;
  readonly build: string;
  readonly domain: string;
  readonly lifeId: string;
  readonly link: NonNullable<RemoteSessionOpenerOptions["link"]>;
  readonly notice: (notice: OpenerNotice) => void;
}

/** One pair and the sessions that were given to it. */
export class PooledLink {
  readonly address: string;
  readonly #client: LinkClient;
  readonly #clock: Clock;
  readonly #domain: string;
  sessions = 0;
  draining = false;
  idleSinceNs: number;
  /** Dials that failed so far. */
  dialsFailed = 0;
  /** Why its pair went last. */
  lastDown = "";

  constructor(address: string, client: LinkClient, clock: Clock, domain: string) {
    this.address = address;
    this.#client = client;
    this.#clock = clock;
    this.#domain = domain;
    this.idleSinceNs = clock.nowNs();
  }

  get up(): boolean {
    return this.#client.end.stats.phase === "up";
  }

  acquire(): void {
    this.sessions += 1;
  }

  release(): void {
    this.sessions -= 1;
    this.idleSinceNs = this.#clock.nowNs();
  }

  /** Binds a session as soon as a pair is up. What takes its events is made with the port, before any event comes. */
  async bind<H extends LinkSessionHandlers>(
    constants: () => SessionConstants,
    waitMs: number,
    make: (port: LinkSessionPort) => H,
  ): Promise<Result<H, Refused>> {
    try {
      await this.#client.ready(waitMs);
    } catch (failure) {
      const { reason } = toRpcError(failure, this.#domain);
      return err(refused(reason === ErrorReason.UNAUTHENTICATED ? reason : ErrorReason.DEPENDENCY_UNAVAILABLE));
    }
    let handlers: H | undefined;
    const bound = this.#client.end.bind(constants(), {
      onEvent: (event) => handlers?.onEvent(event),
      onClosed: (reason, by) => handlers?.onClosed?.(reason, by),
      onBroken: (broken) => handlers?.onBroken?.(broken),
    });
    if (!bound.ok) {
      if (bound.error === "not_up") return err(refused(ErrorReason.DEPENDENCY_UNAVAILABLE));
      if (bound.error === "sessions_full") return err(refused(ErrorReason.CAPACITY_EXHAUSTED));
      return err({ reason: ErrorReason.SCHEMA_VALIDATION_ERROR, remedy: bound.error.remedy });
    }
    handlers = make(bound.value);
    return ok(handlers);
  }

  close(): void {
    this.#client.close();
  }
}

export class LinkPool {
  readonly #options: LinkPoolOptions;
  readonly #perRuntime: number;
  readonly #links = new Map<string, PooledLink[]>();
  #made = 0;

  constructor(options: LinkPoolOptions) {
    this.#options = options;
    const wanted = options.link.linksPerRuntime ?? 1;
    this.#perRuntime = Math.max(1, Math.min(limits.LINKS_PER_RUNTIME_MAX, Math.floor(wanted)));
  }

  /** The link of `address` with the fewest sessions; made when there are not as many as may be. */
  of(address: string): PooledLink {
    let links = this.#links.get(address);
    if (links === undefined) {
      links = [];
      this.#links.set(address, links);
    }
    const usable = links.filter((link) => !link.draining);
    const idle = usable.find((link) => link.sessions === 0);
    if (idle !== undefined) return idle;
    if (usable.length < this.#perRuntime) {
      const made = this.#make(address);
      links.push(made);
      return made;
    }
    return usable.reduce((a, b) => (b.sessions < a.sessions ? b : a));
  }

  /** Dials those that have no link yet, up to LINKS_WARM_MAX addresses in all. */
  warm(addresses: Iterable<string>): void {
    for (const address of addresses) {
      if (this.#links.size >= limits.LINKS_WARM_MAX) return;
      if (address !== "" && !this.#links.has(address)) this.of(address);
    }
  }

  /** Ends links without sessions: those that drain, and those whose runtime is no longer known and that were idle for long. */
  sweep(known: ReadonlySet<string>): void {
    const now = this.#options.clock.nowNs();
    for (const [address, links] of this.#links) {
      const gone = (link: PooledLink): boolean =>
        link.sessions === 0 &&
        (link.draining || (!known.has(address) && now - link.idleSinceNs >= msToNs(limits.LINK_IDLE_CLOSE_MS)));
      for (const link of links.filter(gone)) link.close();
      const kept = links.filter((link) => !gone(link));
      if (kept.length === 0) this.#links.delete(address);
      else this.#links.set(address, kept);
    }
  }

  all(): readonly PooledLink[] {
    return [...this.#links.values()].flat();
  }

  close(): void {
    for (const link of this.all()) link.close();
    this.#links.clear();
  }

  #make(address: string): PooledLink {
    const { adapterId, build, domain, link, notice, lifeId, clock } = this.#options;
    this.#made += 1;
    const life = createHash("sha256").update(`${adapterId}/${lifeId}/${address}`).digest("base64url").slice(0, 24);
    const handlers: LinkHandlers = {
      onSession: (port) => {
        // Runtimes bind nothing at an adapter.
        port.unbind("policy");
        return { onEvent: () => undefined };
      },
      onPairDown: (_incarnation, reason) => {
        pooled.lastDown = reason;
        notice({ kind: "link_down", address, reason, sessions: pooled.sessions });
      },
      onGoAway: () => {
        pooled.draining = true;
      },
    };
    const client = createLinkClient(
      {
        domain,
        address,
        linkId: `${life}-${this.#made}`,
        peerId: adapterId,
        build,
        ...(link.tls === undefined ? {} : { tls: link.tls }),
        ...(link.headers === undefined ? {} : { headers: link.headers }),
        ...(link.config === undefined ? {} : { config: link.config }),
        onDialFailed: (error, waitMs) => {
          pooled.dialsFailed += 1;
          notice({ kind: "dial_failed", address, reason: errorReasonNames.name(error.reason), waitMs });
        },
      },
      handlers,
    );
    const pooled = new PooledLink(address, client, clock, domain);
    return pooled;
  }
}
