/** `rspp.provider.v1.ProviderService` over any provider port: on the stream port, its lists on the API port too. */
import { create } from "@bufbuild/protobuf";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { ProviderDescriptor, ProviderHealth } from "@rspp/gen/rspp/provider/v1/provider_pb";
import {
  type InvokeManyRequest,
  type InvokeManyResponse,
  type ListProvidersRequest,
  ListProvidersResponseSchema,
  ProviderService,
  type WatchProviderHealthRequest,
  type WatchProviderHealthResponse,
  WatchProviderHealthResponseSchema,
} from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Clock } from "@rspp/ports/clock";
import type { ProviderPort } from "@rspp/ports/provider";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { rpcError } from "@rspp/rpc/errors";
import { bidiMethod, type CallInfo, type GrpcService, serverStreamMethod, unaryMethod } from "@rspp/rpc/grpc-server";
import { type RpcRoute, route } from "@rspp/rpc/route";
import { invocationLimits as limits } from "./invocation-limits.ts";
import { InvocationSession } from "./invocation-session.ts";
import { SharedAcceptor, type SharedPlace } from "./shared-server.ts";

/** How providers are, from what their gateway sees. */
export interface ProviderHealthView {
  snapshot(): readonly ProviderHealth[];
  /** Told of those that changed, until the returned function is called. */
  watch(changed: (health: readonly ProviderHealth[]) => void): () => void;
}

export interface InvocationServiceOptions {
  readonly clock: Clock;
  readonly describe: () => readonly ProviderDescriptor[];
  readonly health: ProviderHealthView;
  /** In errors. Default `provider-gateway`. */
  readonly domain?: string;
  /** Invocations at once; more end in `overload`. Default 1024. */
  readonly invocationsMax?: number;
}

export interface InvocationService {
  readonly grpc: GrpcService;
  /** Lists and health; invocations are served on the stream port alone. */
  readonly route: RpcRoute;
  readonly inFlight: number;
  /** Takes nothing new and waits for what runs; what is left at the end ends in `disconnect`. True when nothing was. */
  drain(graceMs: number): Promise<boolean>;
}

export function invocationService(port: ProviderPort, options: InvocationServiceOptions): InvocationService {
  const { clock, describe, health, domain = "provider-gateway", invocationsMax = limits.INVOCATIONS_MAX } = options;
  const running = new Running(invocationsMax);
  const watchers = new Watchers(health, domain);
  const place = {
    domain,
    clock,
    port,
    describe,
    enter: (session: InvocationSession) => running.enter(session),
    leave: (session: InvocationSession) => running.leave(session),
  };
  const { invoke, invokeMany, listProviders, watchProviderHealth } = ProviderService.method;
  const shared = new SharedStreams(domain, (duplex) => new InvocationSession(place, duplex));
  const list = (request: ListProvidersRequest) => listOf(describe(), request);
  return {
    grpc: {
      service: ProviderService,
      methods: {
        invoke: bidiMethod(invoke, (duplex) => {
          const session = new InvocationSession(place, duplex);
          return {
            onMessage: (message) => session.onMessage(message),
            onEnd: () => session.onEnd(),
            onClosed: () => session.onClosed(),
          };
        }),
        // Each frame is checked by itself, so that one that breaks its contract ends its own invocation alone.
        invokeMany: bidiMethod(invokeMany, (duplex, info) => shared.accept(duplex, info), { validate: false }),
        listProviders: unaryMethod(listProviders, list),
        watchProviderHealth: serverStreamMethod(watchProviderHealth, (request, send) => watchers.push(request, send)),
      },
    },
    route: route(ProviderService, {
      listProviders: list,
      watchProviderHealth: (request, { signal }) => watchers.pull(request, signal),
    }),
    get inFlight() {
      return running.size;
    },
    drain: (graceMs) => {
      shared.drain();
      return running.drain(graceMs);
    },
  };
}

function listOf(all: readonly ProviderDescriptor[], { modality }: ListProvidersRequest) {
  const wanted = all.filter((one) => modality === 0 || one.modality === modality);
  const providers = [...wanted].sort((a, b) => (a.name < b.name ? -1 : 1));
  return create(ListProvidersResponseSchema, { providers });
}

class Running {
  readonly #max: number;
  readonly #sessions = new Set<InvocationSession>();
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#sessions.size;
  }

  enter(session: InvocationSession): boolean {
    if (this.#draining || this.#sessions.size >= this.#max) return false;
    this.#sessions.add(session);
    return true;
  }

  leave(session: InvocationSession): void {
    this.#sessions.delete(session);
    if (this.#sessions.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  async drain(graceMs: number): Promise<boolean> {
    this.#draining = true;
    if (this.#sessions.size === 0) return true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), graceMs);
    });
    const idle = new Promise<boolean>((resolve) => this.#idle.push(() => resolve(true)));
    const ended = await Promise.race([idle, late]);
    clearTimeout(timer);
    for (const session of [...this.#sessions]) session.stop();
    return ended;
  }
}

/** Streams that carry many invocations each. */
class SharedStreams {
  readonly #place: SharedPlace;
  readonly #open = new Set<SharedAcceptor>();
  #draining = false;

  constructor(domain: string, accept: SharedPlace["accept"]) {
    const { invoke } = ProviderService.method;
    const closed = (stream: SharedAcceptor): void => void this.#open.delete(stream);
    this.#place = { domain, service: ProviderService.typeName, method: invoke.name, accept, closed };
  }

  /** @throws RpcError `draining`: streams that live as long as their connection would hold up the end. */
  accept(duplex: Duplex<InvokeManyResponse>, info: CallInfo): DuplexHandlers<InvokeManyRequest> {
    if (this.#draining) throw rpcError(ErrorReason.DRAINING, { domain: this.#place.domain });
    const stream = new SharedAcceptor(this.#place, duplex, info);
    this.#open.add(stream);
    return {
      onMessage: (message) => stream.onMessage(message),
      onEnd: () => stream.onEnd(),
      onClosed: () => stream.onClosed(),
    };
  }

  drain(): void {
    this.#draining = true;
    for (const stream of [...this.#open]) stream.drain();
  }
}

/** Those who watch health: all at first, then what changed, the latest alone for one who is slow. */
class Watchers {
  readonly #health: ProviderHealthView;
  readonly #domain: string;
  #count = 0;

  constructor(health: ProviderHealthView, domain: string) {
    this.#health = health;
    this.#domain = domain;
  }

  /** @throws RpcError `capacity_exhausted` past the bound of watchers. */
  push(
    request: WatchProviderHealthRequest,
    send: (message: WatchProviderHealthResponse, written: () => void) => void,
  ): () => void {
    this.#enter();
    const news = new Map<string, ProviderHealth>();
    let busy = false;
    const flush = (): void => {
      if (busy || news.size === 0) return;
      busy = true;
      const health = [...news.values()];
      news.clear();
      send(create(WatchProviderHealthResponseSchema, { health }), () => {
        busy = false;
        flush();
      });
    };
    const tell = (health: readonly ProviderHealth[]): void => {
      const named = health.filter(({ provider }) => {
        return request.providers.length === 0 || request.providers.includes(provider);
      });
      for (const one of named) news.set(one.provider, one);
      flush();
    };
    const stop = this.#health.watch(tell);
    tell(this.#health.snapshot());
    return () => {
      stop();
      this.#count--;
    };
  }

  async *pull(request: WatchProviderHealthRequest, signal: AbortSignal): AsyncIterable<WatchProviderHealthResponse> {
    let wake: () => void = () => undefined;
    // One at most: the next is sent when this one is taken.
    const inbox: { message: WatchProviderHealthResponse; taken: () => void }[] = [];
    const stop = this.push(request, (message, taken) => {
      inbox.push({ message, taken });
      wake();
    });
    const onAbort = (): void => wake();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        const next = inbox.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        yield next.message;
        next.taken();
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      stop();
    }
  }

  #enter(): void {
    if (this.#count >= limits.HEALTH_WATCHERS_MAX) {
      throw rpcError(ErrorReason.CAPACITY_EXHAUSTED, { domain: this.#domain, retryAfterMs: 1_000 });
    }
    this.#count++;
  }
}
