import { type Ring, ringCreate, ringPush, ringShift } from "@rspp/base/ring";
import type { AudioFormat } from "@rspp/kernel/event";
import { limits } from "./limits.ts";

/** The six event kinds (F-022). */
export const EVENT_KINDS = ["audio", "text", "control", "metrics", "debug", "error"] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export type ObservedEvent =
  | {
      kind: "audio";
      atNs: number;
      direction: "in" | "out";
      turn: number;
      generation: number;
      /** Media time: of the caller's stream (in) or within the turn's output (out), microseconds. */
      mediaUs: number;
      durationUs: number;
      format: AudioFormat;
      bytes: Uint8Array;
    }
  | {
      kind: "text";
      atNs: number;
      turn: number;
      role: "user" | "assistant";
      text: string;
      final: boolean;
      segment: number;
      revision: number;
    }
  | {
      kind: "control";
      atNs: number;
      signal: string;
      emitter: string;
      turn: number;
      generation: number;
      reason: string;
      fields: Readonly<Record<string, string | number>>;
      /** Runtime sequence; the event is `r-<seq>` everywhere. */
      seq: number;
      /** Input it came of; 0 none. */
      cause: number;
    }
  /** Value in the unit that ends its name; `node` or `edge` where one is meant, else "". */
  | { kind: "metrics"; atNs: number; name: string; value: number; turn: number; node: string; edge: string }
  | { kind: "debug"; atNs: number; text: string; fields: Readonly<Record<string, string | number>> }
  | { kind: "error"; atNs: number; code: string; detail: string };

export interface Subscription {
  /** The oldest event not yet taken; undefined when there is none. */
  take(): ObservedEvent | undefined;
  waiting(): number;
  /** Events lost because the queue was full; the oldest go first. */
  dropped(): number;
  close(): void;
}

export interface SubscribeOptions {
  kinds: readonly EventKind[];
  /** Default and maximum: OBSERVER_QUEUE_ITEMS_MAX. */
  capacity?: number;
  /** Called once when the queue stops being empty; take from it until it is empty again. Must not throw. */
  onReady?: (subscription: Subscription) => void;
}

interface Observer extends Subscription {
  readonly kinds: ReadonlySet<EventKind>;
  offer(event: ObservedEvent): void;
}

/** Subscriptions of one session. A slow subscriber loses its own oldest events and delays nobody. */
export class Observers {
  private readonly list: Observer[] = [];
  private readonly wanted = new Set<EventKind>();
  private readonly defer: (run: () => void) => void;

  /** @param defer runs a subscriber's `onReady` outside the step that made the event. */
  constructor(defer: (run: () => void) => void) {
    this.defer = defer;
  }

  /** Ask before building an event: without a subscriber it costs nothing. */
  wants(kind: EventKind): boolean {
    return this.wanted.has(kind);
  }

  emit(event: ObservedEvent): void {
    for (const observer of this.list) if (observer.kinds.has(event.kind)) observer.offer(event);
  }

  /** Null when the session already has OBSERVERS_PER_SESSION_MAX subscriptions. */
  subscribe(options: SubscribeOptions): Subscription | null {
    if (this.list.length >= limits.OBSERVERS_PER_SESSION_MAX) return null;
    const capacity = Math.max(
      1,
      Math.min(options.capacity ?? limits.OBSERVER_QUEUE_ITEMS_MAX, limits.OBSERVER_QUEUE_ITEMS_MAX),
    );
    const observer = createObserver(new Set(options.kinds), ringCreate(capacity), this.defer, options.onReady, () =>
      this.remove(observer),
    );
    this.list.push(observer);
    this.refresh();
    return observer;
  }

  private remove(observer: Observer): void {
    const at = this.list.indexOf(observer);
    if (at !== -1) this.list.splice(at, 1);
    this.refresh();
  }

  private refresh(): void {
    this.wanted.clear();
    for (const observer of this.list) for (const kind of observer.kinds) this.wanted.add(kind);
  }
}

function createObserver(
  kinds: ReadonlySet<EventKind>,
  queue: Ring<ObservedEvent>,
  defer: (run: () => void) => void,
  onReady: ((subscription: Subscription) => void) | undefined,
  remove: () => void,
): Observer {
  let dropped = 0;
  let told = false;
  const observer: Observer = {
    kinds,
    offer(event) {
      if (queue.size >= queue.capacity) {
        ringShift(queue);
        dropped += 1;
      }
      ringPush(queue, event);
      if (onReady === undefined || told) return;
      told = true;
      defer(() => {
        told = false;
        onReady(observer);
      });
    },
    take: () => ringShift(queue),
    waiting: () => queue.size,
    dropped: () => dropped,
    close: remove,
  };
  return observer;
}
