import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { ListProvidersRequestSchema, ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { TimerHandle } from "@rspp/ports/clock";
import type { Invocation, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import { callUnary } from "@rspp/rpc/grpc-client";
import type { InvocationOrigin, RemoteProvider, RemoteProviders, RemoteProvidersOptions } from "./invocation-api.ts";
import { RemoteInvocation } from "./invocation-call.ts";
import { invocationLimits as limits } from "./invocation-limits.ts";
import { modalityFromWire } from "./invocation-messages.ts";
import { InvocationPool } from "./invocation-pool.ts";

/**
 * The provider gateway over `rspp.provider.v1.ProviderService`, over streams that invocations share, or one stream each where the
 * gateway does not serve those (F-055, F-160). The list of
 * `providers()` is fetched at once and refreshed; await `refresh()` before it is needed.
 */
export function createRemoteProviders(options: RemoteProvidersOptions): RemoteProviders {
  return new RemoteGateway(options);
}

class RemoteGateway implements RemoteProviders {
  readonly #options: RemoteProvidersOptions;
  readonly #invocationsMax: number;
  readonly #pool: InvocationPool;
  readonly #running = new Set<RemoteInvocation>();
  #list: readonly RemoteProvider[] = [];
  #there: boolean | null = null;
  #refreshing: Promise<boolean> | null = null;
  #timer: TimerHandle | null = null;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: RemoteProvidersOptions) {
    this.#options = options;
    this.#invocationsMax = options.invocationsMax ?? limits.INVOCATIONS_MAX;
    this.#pool = new InvocationPool(options, { lost: () => void this.refresh() });
    void this.refresh();
  }

  get inFlight(): number {
    return this.#running.size;
  }

  get sharedStreams(): number {
    return this.#pool.sharedStreams;
  }

  open(request: InvocationOpen, sink: InvocationSink): Invocation {
    const { clock } = this.#options;
    if (this.#closed) return ended(this.#options, sink, "disconnect", "the provider gateway is closed");
    if (this.#running.size >= this.#invocationsMax) {
      const detail = `${this.#invocationsMax} invocations run already; raise invocationsMax or add runtimes`;
      return ended(this.#options, sink, "overload", detail);
    }
    const invocation: RemoteInvocation = new RemoteInvocation(
      {
        clock,
        connect: (handlers, headers) => this.#pool.connect(request.modality, handlers, headers),
        origin: (this.#options.origin ?? plainOrigin)(request),
        acceptTimeoutMs: this.#options.acceptTimeoutMs ?? limits.ACCEPT_TIMEOUT_MS,
        ended: (unreachable) => {
          this.#running.delete(invocation);
          if (this.#running.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
          if (unreachable && this.#there === true) void this.refresh();
        },
      },
      request,
      sink,
    );
    this.#running.add(invocation);
    invocation.start();
    return invocation;
  }

  providers(): readonly string[] {
    return this.#list.filter(({ available }) => available).map(({ name }) => name);
  }

  list(): readonly RemoteProvider[] {
    return this.#list;
  }

  refresh(): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    this.#refreshing ??= this.#fetch().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  /** Cancels what runs and waits, briefly, until the gateway knows. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.clear();
    const gone = new Promise<void>((resolve) => {
      if (this.#running.size === 0) resolve();
      else this.#idle.push(resolve);
    });
    for (const invocation of [...this.#running]) invocation.cancel("stop");
    await gone;
    this.#pool.close();
  }

  async #fetch(): Promise<boolean> {
    const answer = await callUnary(
      this.#pool.channel(),
      ProviderService.method.listProviders,
      create(ListProvidersRequestSchema),
      { headers: this.#options.headers?.() ?? {}, deadlineMs: limits.LIST_DEADLINE_MS },
    );
    if (this.#closed) return false;
    if (answer.ok) {
      this.#list = answer.value.providers.flatMap(({ name, modality, available }) => {
        const known = modalityFromWire(modality);
        return known === undefined ? [] : [{ name, modality: known, available }];
      });
    }
    if (this.#there !== answer.ok) {
      this.#there = answer.ok;
      this.#options.onReachable?.(answer.ok);
    }
    const { clock, refreshMs = limits.LIST_REFRESH_MS } = this.#options;
    const againMs = answer.ok ? refreshMs : Math.min(refreshMs, limits.LIST_RETRY_MS);
    this.#timer?.clear();
    this.#timer = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(againMs)), () => void this.refresh());
    if (answer.ok) await this.#pool.openShared();
    return answer.ok;
  }
}

function plainOrigin({ provider }: InvocationOpen): InvocationOrigin {
  return { tenantId: "default", nodeId: provider, attempt: 1 };
}

/** Ends on the clock's next turn, so that the caller holds it before its outcome arrives. */
function ended(
  { clock }: RemoteProvidersOptions,
  sink: InvocationSink,
  kind: "disconnect" | "overload",
  detail: string,
): Invocation {
  let done = false;
  const end = (outcome: Parameters<InvocationSink["outcome"]>[0]): void => {
    if (done) return;
    done = true;
    timer.clear();
    sink.outcome(outcome);
  };
  const timer = clock.timerAt(clock.nowNs(), () => end({ kind, detail }));
  return { push: () => {}, finish: () => {}, cancel: () => end({ kind: "cancelled", detail: "cancelled" }) };
}
