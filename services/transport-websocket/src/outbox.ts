/**
 * What waits for the client, in bounded lanes. Signals, texts and flushes leave before audio, audio before telemetry;
 * audio is dropped when the client is slow, telemetry loses its oldest, the rest is never dropped (kernel.md §4, §6).
 */
import type { ServerFrame } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import { limits } from "./limits.ts";

export type OutLane = "control" | "media" | "telemetry";

export interface OutItem {
  lane: OutLane;
  message: ServerFrame["message"];
  /** As it will weigh on the wire, about. */
  bytes: number;
  /** Media only; 0 for what belongs to the session. */
  turn: number;
  generation: number;
  /** Told with its sequence when it is written or recorded. */
  onSequence?: (sequence: number) => void;
}

/** A frame that is sent again under its own sequence. */
export interface AgainItem {
  sequence: number;
  turn: number | null;
  generation: number;
  record: Uint8Array;
}

export class Outbox {
  #control: OutItem[] = [];
  #media: OutItem[] = [];
  readonly #telemetry: OutItem[] = [];
  #again: AgainItem[] = [];
  #controlBytes = 0;
  #mediaBytes = 0;
  telemetryDropped = 0;

  /** `dropped`: audio for which there is no room. `overflow`: the client is too slow to be kept. */
  push(item: OutItem): "queued" | "dropped" | "overflow" {
    if (item.lane === "control") {
      this.#control.push(item);
      this.#controlBytes += item.bytes;
      const over =
        this.#controlBytes > limits.CONTROL_QUEUE_BYTES_MAX || this.#control.length > limits.CONTROL_QUEUE_ITEMS_MAX;
      return over ? "overflow" : "queued";
    }
    if (item.lane === "media") {
      if (this.#mediaBytes + item.bytes > limits.MEDIA_QUEUE_BYTES_MAX) return "dropped";
      this.#media.push(item);
      this.#mediaBytes += item.bytes;
      return "queued";
    }
    if (this.#telemetry.length >= limits.TELEMETRY_QUEUE_ITEMS_MAX) {
      this.#telemetry.shift();
      this.telemetryDropped += 1;
    }
    this.#telemetry.push(item);
    return "queued";
  }

  /** What a client that came back has missed; it goes first, in its order. */
  pushAgain(items: readonly AgainItem[]): void {
    this.#again.push(...items);
  }

  shiftAgain(): AgainItem | undefined {
    return this.#again.shift();
  }

  shift(): OutItem | undefined {
    const control = this.#control.shift();
    if (control !== undefined) {
      this.#controlBytes -= control.bytes;
      return control;
    }
    const media = this.#media.shift();
    if (media !== undefined) {
      this.#mediaBytes -= media.bytes;
      return media;
    }
    return this.#telemetry.shift();
  }

  /** Takes out the audio that `fenced` names. @returns frames taken out. */
  cut(fenced: (turn: number, generation: number) => boolean): number {
    const before = this.#media.length;
    this.#media = this.#media.filter((item) => !fenced(item.turn, item.generation));
    this.#mediaBytes = this.#media.reduce((sum, item) => sum + item.bytes, 0);
    this.#again = this.#again.filter((item) => item.turn === null || !fenced(item.turn, item.generation));
    return before - this.#media.length;
  }

  /** The connection is gone: what it was sent again is still kept elsewhere, telemetry is not. */
  disconnected(): void {
    this.#again = [];
    this.#telemetry.length = 0;
  }

  size(): number {
    return this.#control.length + this.#media.length + this.#telemetry.length + this.#again.length;
  }

  bytes(): number {
    return this.#controlBytes + this.#mediaBytes;
  }
}
