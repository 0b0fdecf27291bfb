/** What was said and not yet confirmed: kept over a cut, resent in its order, bounded. */
import type { ClientFrame } from "@rspp/gen/rspp/transport/v1/websocket_pb";

type Message = ClientFrame["message"];

interface Kept {
  kind: "audio" | "signal";
  sequence: number;
  atMs: number;
  bytes: number;
  message: Message;
}

const KEPT_MS_MAX = 30_000;
const KEPT_BYTES_MAX = 6_291_456;
const KEPT_ITEMS_MAX = 8_192;

export class Outbox {
  #kept: Kept[] = [];
  #bytes = 0;
  #audio = 0;
  #signals = 0;
  /** Audio frames that went past a bound before they were confirmed: gone, and seen by the server as a hole. */
  lostFrames = 0;

  /** The number the next frame of this kind will have. */
  next(kind: "audio" | "signal"): number {
    return (kind === "audio" ? this.#audio : this.#signals) + 1;
  }

  lastAudio(): number {
    return this.#audio;
  }

  lastSignal(): number {
    return this.#signals;
  }

  keep(kind: "audio" | "signal", message: Message, bytes: number, nowMs: number): void {
    const sequence = this.next(kind);
    if (kind === "audio") this.#audio = sequence;
    else this.#signals = sequence;
    this.#kept.push({ kind, sequence, atMs: nowMs, bytes, message });
    this.#bytes += bytes;
    this.#bound(nowMs);
  }

  confirmed(audio: number, signal: number): void {
    this.#kept = this.#kept.filter((k) => k.sequence > (k.kind === "audio" ? audio : signal));
    this.#bytes = this.#kept.reduce((sum, k) => sum + k.bytes, 0);
  }

  /** What is to be sent again, in the order it was said. */
  after(audio: number, signal: number): Message[] {
    this.confirmed(audio, signal);
    return this.#kept.map((k) => k.message);
  }

  clear(): void {
    this.#kept = [];
    this.#bytes = 0;
  }

  /** Old audio goes first; a signal is small, and worth more than any audio. */
  #bound(nowMs: number): void {
    while (this.#kept.length > KEPT_ITEMS_MAX || this.#bytes > KEPT_BYTES_MAX || this.#oldAudio(nowMs)) {
      const at = this.#kept.findIndex((k) => k.kind === "audio");
      const [gone] = this.#kept.splice(Math.max(0, at), 1);
      this.#bytes -= gone?.bytes ?? 0;
      if (gone?.kind === "audio") this.lostFrames += 1;
    }
  }

  #oldAudio(nowMs: number): boolean {
    const first = this.#kept.find((k) => k.kind === "audio");
    return first !== undefined && nowMs - first.atMs > KEPT_MS_MAX;
  }
}
