/** Writes the media of one end: an outbox that fences reach, and a bounded amount in the hands of the transport. */
import type { MonoNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Result } from "@rspp/base/result";
import { isFenced } from "@rspp/protocol/link-fence";
import { markReady } from "@rspp/protocol/link-send";
import { linkSession } from "@rspp/protocol/link-state";
import type { LinkFrame, LinkState, SkipFrame } from "@rspp/protocol/link-types";
import type { LinkPayload } from "@rspp/wire/link-control";
import type { LinkMessage } from "@rspp/wire/link-frame";
import type { WireError } from "@rspp/wire/wire-error";
import { limits } from "./limits.ts";
import type { LinkNotice } from "./link-api.ts";
import { LinkOutbox, type OutboxDrop, outboxItem } from "./link-outbox.ts";
import type { MediaWire } from "./link-wires.ts";

export interface MediaWriterPorts {
  readonly state: LinkState<LinkPayload>;
  encode(frame: LinkFrame<LinkPayload>): Result<LinkMessage, WireError>;
  notice(notice: LinkNotice): void;
  /** Something became ready to be sent outside a step of the machine. */
  wake(): void;
}

export class MediaWriter {
  readonly #ports: MediaWriterPorts;
  readonly #outbox: LinkOutbox;
  #wire: MediaWire | null = null;
  /** Rises with each wire, so that a late answer of an earlier one counts for nothing. */
  #generation = 0;
  #inFlightBytes = 0;
  messages = 0;
  events = 0;

  constructor(ports: MediaWriterPorts) {
    this.#ports = ports;
    this.#outbox = new LinkOutbox((skip) => this.#encodeSkip(skip));
  }

  get waitingItems(): number {
    return this.#outbox.size;
  }

  get waitingBytes(): number {
    return this.#outbox.bytes;
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /** Starts over on a connection, or on none. */
  use(wire: MediaWire | null): void {
    this.#generation++;
    this.#wire = wire;
    this.#inFlightBytes = 0;
    this.#outbox.clear();
  }

  send(frames: readonly LinkFrame<LinkPayload>[], now: MonoNs): void {
    for (const frame of frames) this.#queue(frame);
    this.#bound(now);
    this.#pump();
  }

  /** What waits of a session that is gone at the peer. */
  forget(ref: number): void {
    this.#outbox.forget(ref);
  }

  /** kernel.md §6: what a fence cuts leaves the queues of both ends. */
  fence(ref: number, now: MonoNs): void {
    const session = linkSession(this.#ports.state, ref);
    if (session === undefined || this.#outbox.size === 0) return;
    const drops = this.#outbox.drop(
      "fenced",
      (item) => item.ref === ref && isFenced(session.fences, item.turn, item.generation),
    );
    this.#settle(drops, "fenced", now);
  }

  #encodeSkip(skip: SkipFrame): Parameters<typeof outboxItem>[1] {
    const message = this.#ports.encode(skip);
    invariant(message.ok && message.value.connection === "media", "a skip can always be told", skip);
    return message.value.event;
  }

  #queue(frame: LinkFrame<LinkPayload>): void {
    if (frame.kind !== "event" && frame.kind !== "skip") return;
    const encoded = this.#ports.encode(frame);
    if (encoded.ok && encoded.value.connection === "media") {
      this.#outbox.push(outboxItem(frame, encoded.value.event));
      return;
    }
    if (encoded.ok || frame.kind === "skip") return;
    // What cannot be told leaves a declared hole; its credit comes back with the next event's totals.
    const { ref, lane, seq } = frame;
    this.#ports.notice({ kind: "message_refused", ref, error: encoded.error });
    const skip: SkipFrame = { kind: "skip", ref, lane, seq, toSeq: seq, reason: "closed" };
    this.#outbox.push(outboxItem<never>(skip, this.#encodeSkip(skip)));
  }

  #pump(): void {
    const wire = this.#wire;
    const generation = this.#generation;
    while (wire !== null && generation === this.#generation && this.#outbox.size > 0) {
      if (this.#inFlightBytes >= limits.LINK_MEDIA_IN_FLIGHT_BYTES_MAX) return;
      const { events, bytes } = this.#outbox.take(
        limits.LINK_FRAMES_PER_MESSAGE_MAX,
        limits.LINK_MESSAGE_MEDIA_BYTES_MAX,
      );
      this.#inFlightBytes += bytes;
      this.messages++;
      this.events += events.length;
      wire.send(events, () => {
        if (generation !== this.#generation) return;
        this.#inFlightBytes -= bytes;
        this.#pump();
      });
    }
  }

  /** A connection that takes nothing costs the oldest steady media, declared; control and the session live on. */
  #bound(now: MonoNs): void {
    const { LINK_MEDIA_PENDING_BYTES_MAX: bytesMax, LINK_MEDIA_PENDING_ITEMS_MAX: itemsMax } = limits;
    if (this.#outbox.bytes <= bytesMax && this.#outbox.size <= itemsMax) return;
    const target = Math.min(bytesMax, this.#outbox.bytes) / 2;
    this.#settle(this.#outbox.dropOldest(target, "overflow"), "overflow", now);
  }

  /** What was dropped unsent was never paid for. */
  #settle(drops: readonly OutboxDrop[], reason: "fenced" | "overflow", now: MonoNs): void {
    for (const { ref, lane, items, audioUs, bytes } of drops) {
      const session = linkSession(this.#ports.state, ref);
      if (session !== undefined) {
        session.outCredit.sentAudioUs -= audioUs;
        session.outCredit.sentBytes -= bytes;
        markReady(this.#ports.state, session, now);
      }
      this.#ports.notice({ kind: "dropped", ref, lane, items, reason });
    }
    if (drops.length > 0) this.#ports.wake();
  }
}
