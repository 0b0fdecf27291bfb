/** Connections to a gateway, what runs on them, and the streams that invocations share. */
import type { InvokeRequest, InvokeResponse } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { ProviderService } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import type { Modality } from "@rspp/ports/provider";
import type { Duplex, DuplexHandlers } from "@rspp/rpc/duplex";
import { type GrpcChannel, openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import type { RemoteProvidersOptions } from "./invocation-api.ts";
import { invocationLimits as limits } from "./invocation-limits.ts";
import { SharedStream } from "./shared-client.ts";

interface PooledChannel {
  readonly channel: GrpcChannel;
  /** Those of one invocation each. */
  streams: number;
}

interface Slot {
  readonly stream: SharedStream;
  /** It was opened with; another value asks for another stream. */
  readonly headers: string;
}

export interface PoolEvents {
  /** A shared stream that served is over. */
  lost(): void;
}

export class InvocationPool {
  readonly #options: RemoteProvidersOptions;
  readonly #events: PoolEvents;
  readonly #connections: number;
  readonly #channels: PooledChannel[] = [];
  readonly #slots: (Slot | undefined)[] = [];
  #closed = false;

  constructor(options: RemoteProvidersOptions, events: PoolEvents) {
    this.#options = options;
    this.#events = events;
    this.#connections = options.connections ?? limits.CONNECTIONS;
  }

  get sharedStreams(): number {
    return this.#slots.filter((slot) => slot?.stream.usable).length;
  }

  /** For calls that are no invocations. */
  channel(): GrpcChannel {
    return this.#least().channel;
  }

  /** A place on a shared stream where there is one, else a stream of its own. */
  connect(
    modality: Modality,
    handlers: DuplexHandlers<InvokeResponse>,
    headers: Readonly<Record<string, string>>,
  ): Duplex<InvokeRequest> {
    const { traceparent = "", ...others } = headers;
    const shared = Object.keys(others).length === 0 && traceparent.length <= 64 ? this.#shared(modality) : undefined;
    if (shared !== undefined) return shared.open(handlers, traceparent);
    const pooled = this.#least();
    pooled.streams++;
    const { onMessage, onEnd, onClosed } = handlers;
    const counted: DuplexHandlers<InvokeResponse> = {
      onMessage,
      ...(onEnd === undefined ? {} : { onEnd }),
      onClosed: (error) => {
        pooled.streams--;
        onClosed?.(error);
      },
    };
    return openDuplex(pooled.channel, ProviderService.method.invoke, counted, {
      headers: { ...this.#headers(), ...headers },
    });
  }

  /** Opens what is missing of the shared streams; resolves when each serves, or does not. Never rejects. */
  async openShared(): Promise<void> {
    if (this.#options.shared === false) return;
    const headers = JSON.stringify(this.#headers());
    const opening: Promise<void>[] = [];
    for (let index = 0; index < this.#connections && !this.#closed; index++) {
      const slot = this.#slots[index];
      if (slot !== undefined && slot.headers === headers) continue;
      slot?.stream.retire();
      opening.push(this.#openSlot(index, headers));
    }
    await Promise.all(opening);
  }

  close(): void {
    this.#closed = true;
    for (const slot of this.#slots) slot?.stream.retire();
    for (const { channel } of this.#channels) channel.close();
  }

  #openSlot(index: number, headers: string): Promise<void> {
    return new Promise((resolve) => {
      let served = false;
      const late = setTimeout(resolve, limits.SHARED_READY_MS);
      late.unref();
      const answered = (): void => {
        clearTimeout(late);
        resolve();
      };
      const slot: Slot = {
        headers,
        stream: new SharedStream({
          channel: this.#channelOf(index).channel,
          headers: this.#headers(),
          ready: () => {
            served = true;
            answered();
          },
          closed: () => {
            if (this.#slots[index] === slot) this.#slots[index] = undefined;
            answered();
            if (served && !this.#closed) this.#events.lost();
          },
        }),
      };
      this.#slots[index] = slot;
    });
  }

  /** Long conversations of language models have streams of their own, so that no word to be spoken waits behind one. */
  #shared(modality: Modality): SharedStream | undefined {
    let found: SharedStream | undefined;
    let best = Number.POSITIVE_INFINITY;
    for (const [index, slot] of this.#slots.entries()) {
      if (slot === undefined || !slot.stream.usable) continue;
      const apart = (modality === "llm") === (index % 2 === 0) ? 0 : limits.INVOCATIONS_MAX;
      if (slot.stream.calls + apart >= best) continue;
      best = slot.stream.calls + apart;
      found = slot.stream;
    }
    return found;
  }

  #headers(): Readonly<Record<string, string>> {
    return this.#options.headers?.() ?? {};
  }

  /** The one with the fewest streams; another is opened when all are full. */
  #least(): PooledChannel {
    const least = this.#channels.reduce<PooledChannel | null>(
      (a, b) => (a === null || b.streams < a.streams ? b : a),
      null,
    );
    const fits = least !== null && (least.streams === 0 || this.#channels.length >= this.#connections);
    if (least !== null && fits && least.streams < limits.STREAMS_PER_CONNECTION) return least;
    return this.#open();
  }

  #channelOf(index: number): PooledChannel {
    while (this.#channels.length < index) this.#open();
    return this.#channels[index] ?? this.#open();
  }

  #open(): PooledChannel {
    const { address, tls } = this.#options;
    const pooled = { channel: openChannel({ address, ...(tls === undefined ? {} : { tls }) }), streams: 0 };
    this.#channels.push(pooled);
    return pooled;
  }
}
