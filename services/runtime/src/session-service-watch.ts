/** A session's events live, for one watcher at its own pace: what it is too slow for is dropped, telemetry first, and told. */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { Clock } from "@rspp/ports/clock";
import { rpcError } from "@rspp/rpc/errors";
import { limits } from "./limits.ts";
import type { EventKind, ObservedEvent, Subscription } from "./observers.ts";
import type { RuntimeSession } from "./runtime.ts";
import { type EventPlace, observedEnvelope } from "./session-service-events.ts";

export interface WatchOptions {
  readonly clock: Clock;
  readonly kinds: readonly EventKind[];
  /** Debug events as well, for so long; 0 none but those of `kinds`. */
  readonly debugForMs: number;
  readonly signal: AbortSignal;
  /** Events that wait for a watcher. Default WATCH_QUEUE_ITEMS_MAX. */
  readonly capacity?: number;
}

export interface WatchBatch {
  readonly events: Envelope[];
  /** So far. */
  readonly dropped: number;
}

/** Until the session is over or the watcher leaves. @throws RpcError `capacity_exhausted` with too many watchers. */
export async function* watchSession(session: RuntimeSession, options: WatchOptions): AsyncGenerator<WatchBatch, void> {
  const watch = new Watch(session, options);
  try {
    for (let batch = await watch.next(); batch !== null; batch = await watch.next()) yield batch;
  } finally {
    watch.close();
  }
}

const telemetry: ReadonlySet<EventKind> = new Set(["metrics", "debug"]);

class Watch {
  readonly #session: RuntimeSession;
  readonly #options: WatchOptions;
  readonly #subscription: Subscription;
  readonly #kinds: ReadonlySet<EventKind>;
  readonly #debugUntilNs: number;
  readonly #queue: ObservedEvent[] = [];
  readonly #onAbort = (): void => this.#wake();
  #telemetry = 0;
  #dropped = 0;
  #told = 0;
  #number = 0;
  #over = false;
  #wake: () => void = () => {};

  constructor(session: RuntimeSession, options: WatchOptions) {
    this.#session = session;
    this.#options = options;
    this.#kinds = new Set(options.kinds);
    this.#debugUntilNs = options.clock.nowNs() + msToNs(options.debugForMs);
    const kinds = options.debugForMs > 0 ? [...new Set([...options.kinds, "debug" as const])] : options.kinds;
    const subscription = session.events.subscribe({ kinds, onReady: (ready) => this.#take(ready) });
    if (subscription === null) {
      const remedy = "End another watch of this session first.";
      throw rpcError(ErrorReason.CAPACITY_EXHAUSTED, { domain: "runtime", metadata: { limit: "watchers" }, remedy });
    }
    this.#subscription = subscription;
    options.signal.addEventListener("abort", this.#onAbort);
    void session.ended.then(() => {
      this.#take(subscription);
      this.#over = true;
      this.#wake();
    });
  }

  /** Null once nothing more comes. */
  async next(): Promise<WatchBatch | null> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      const dropped = this.#dropped + this.#subscription.dropped();
      if (this.#queue.length > 0 || dropped > this.#told) return this.#batch();
      if (this.#over) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return null;
  }

  close(): void {
    this.#subscription.close();
    this.#options.signal.removeEventListener("abort", this.#onAbort);
  }

  #batch(): WatchBatch {
    const { clock } = this.#options;
    const { config } = this.#session;
    const place: EventPlace = {
      constants: {
        tenant: config.tenantId,
        session: config.sessionId,
        pipelineVersion: config.graph.pipelineVersion,
        epoch: this.#session.view().epoch,
      },
      wallOriginMs: clock.wallMs() - clock.nowNs() / 1e6,
      nextId: () => {
        this.#number += 1;
        return `w-${this.#number}`;
      },
    };
    const events: Envelope[] = [];
    for (const event of this.#queue.splice(0, limits.WATCH_BATCH_ITEMS_MAX)) {
      if (telemetry.has(event.kind)) this.#telemetry -= 1;
      const made = observedEnvelope(event, place);
      if (made.ok) events.push(made.value);
      else this.#dropped += 1;
    }
    this.#told = this.#dropped + this.#subscription.dropped();
    return { events, dropped: this.#told };
  }

  #take(from: Subscription): void {
    for (let event = from.take(); event !== undefined; event = from.take()) this.#offer(event);
    this.#wake();
  }

  #offer(event: ObservedEvent): void {
    const late = event.kind === "debug" && !this.#kinds.has("debug") && event.atNs > this.#debugUntilNs;
    if (late) return;
    if (this.#queue.length >= (this.#options.capacity ?? limits.WATCH_QUEUE_ITEMS_MAX)) {
      this.#dropped += 1;
      // A watcher that is behind keeps what happened before how it was measured.
      if (this.#telemetry === 0 && telemetry.has(event.kind)) return;
      this.#dropOldest();
    }
    if (telemetry.has(event.kind)) this.#telemetry += 1;
    this.#queue.push(event);
  }

  #dropOldest(): void {
    const at = this.#telemetry === 0 ? 0 : this.#queue.findIndex(({ kind }) => telemetry.has(kind));
    if (this.#telemetry > 0) this.#telemetry -= 1;
    this.#queue.splice(Math.max(0, at), 1);
  }
}

/**
 * The first event that `fits`, or null when the session is over or none came within `ms`. `act` runs once the watch is on,
 * so that nothing of what it causes is missed.
 */
export async function eventAfter(
  session: RuntimeSession,
  clock: Clock,
  ms: number,
  fits: (event: Extract<ObservedEvent, { kind: "control" }>) => boolean,
  act: () => void,
): Promise<Extract<ObservedEvent, { kind: "control" }> | null> {
  return new Promise((resolve) => {
    const done = (event: Extract<ObservedEvent, { kind: "control" }> | null): void => {
      timer.clear();
      subscription?.close();
      resolve(event);
    };
    const subscription = session.events.subscribe({
      kinds: ["control"],
      onReady: (ready) => {
        for (let event = ready.take(); event !== undefined; event = ready.take()) {
          if (event.kind === "control" && fits(event)) return done(event);
        }
      },
    });
    const timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(ms)), () => done(null));
    void session.ended.then(() => done(null));
    act();
  });
}
