/** `grpc.health.v1` on both stacks (F-108). The whole server is the service ""; others go by their full names. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { rpcError } from "./errors.ts";
import { type GrpcService, serverStreamMethod, unaryMethod } from "./grpc-server.ts";
import { limits } from "./limits.ts";
import { type RpcRoute, route } from "./route.ts";
import { HealthCheckResponseSchema, HealthService, ServingStatus } from "./well-known.ts";

type Watcher = (status: ServingStatus) => void;

/** What a server says of itself; alive as long as it answers, ready as long as it serves. */
export class Health {
  readonly #statuses = new Map<string, ServingStatus>([["", ServingStatus.NOT_SERVING]]);
  readonly #watchers = new Map<string, Set<Watcher>>();
  #watcherCount = 0;
  #why: string[] = [];

  /** Services known from the start, all not serving. */
  constructor(services: readonly string[]) {
    for (const service of services) this.#statuses.set(service, ServingStatus.NOT_SERVING);
  }

  /** Every service at once. `why` names what is missing, e.g. `database`; never an address or a secret. */
  setReady(ready: boolean, why: readonly string[] = []): void {
    this.#why = [...why];
    const status = ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
    for (const service of this.#statuses.keys()) this.set(service, status);
  }

  set(service: string, status: ServingStatus): void {
    if (this.#statuses.get(service) === status) return;
    this.#statuses.set(service, status);
    for (const watcher of this.#watchers.get(service) ?? []) watcher(status);
  }

  /** Undefined for a service that is not here. */
  check(service: string): ServingStatus | undefined {
    return this.#statuses.get(service);
  }

  get ready(): boolean {
    return this.#statuses.get("") === ServingStatus.SERVING;
  }

  get why(): readonly string[] {
    return this.#why;
  }

  /**
   * Tells the status now and every change of it, until the returned function is called.
   * @throws RpcError `capacity_exhausted` past the bound of watchers.
   */
  watch(service: string, watcher: Watcher): () => void {
    if (this.#watcherCount >= limits.RPC_HEALTH_WATCHERS_MAX) {
      throw rpcError(ErrorReason.CAPACITY_EXHAUSTED, { domain: "health", retryAfterMs: 1_000 });
    }
    const watchers = this.#watchers.get(service) ?? new Set();
    this.#watchers.set(service, watchers);
    watchers.add(watcher);
    this.#watcherCount++;
    watcher(this.check(service) ?? ServingStatus.SERVICE_UNKNOWN);
    return () => {
      if (!watchers.delete(watcher)) return;
      this.#watcherCount--;
      if (watchers.size === 0) this.#watchers.delete(service);
    };
  }
}

function answer(status: ServingStatus) {
  return create(HealthCheckResponseSchema, { status });
}

function unknown(service: string) {
  return rpcError(ErrorReason.NOT_FOUND, { domain: "health", metadata: { service: service.slice(0, 128) } });
}

export function healthRoute(health: Health): RpcRoute {
  return route(HealthService, {
    check: ({ service }) => {
      const status = health.check(service);
      if (status === undefined) throw unknown(service);
      return answer(status);
    },
    watch: ({ service }, { signal }) => changes(health, service, signal),
  });
}

/** The latest status whenever it is another one than the last told. */
async function* changes(health: Health, service: string, signal: AbortSignal) {
  let latest: ServingStatus | null = null;
  let wake: () => void = () => undefined;
  const stop = health.watch(service, (status) => {
    latest = status;
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener("abort", onAbort);
  try {
    let told: ServingStatus | null = null;
    while (!signal.aborted) {
      if (latest !== told && latest !== null) {
        told = latest;
        yield answer(latest);
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    throw new ConnectError("the watch ended", Code.Canceled);
  } finally {
    signal.removeEventListener("abort", onAbort);
    stop();
  }
}

export function grpcHealth(health: Health): GrpcService {
  return {
    service: HealthService,
    methods: {
      check: unaryMethod(HealthService.method.check, ({ service }) => {
        const status = health.check(service);
        if (status === undefined) throw unknown(service);
        return answer(status);
      }),
      watch: serverStreamMethod(HealthService.method.watch, ({ service }, send) =>
        health.watch(service, (status) => send(answer(status))),
      ),
    },
  };
}
