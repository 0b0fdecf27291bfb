/** Messages whose bind has not come yet: the two connections of a pair race (architecture.md, decision 7). */
import { type MonoNs, monoPlusNs, msToNs } from "@rspp/base/brand";
import { limits as protocolLimits } from "@rspp/protocol/limits";
import type { LinkNotice } from "./link-api.ts";
import type { Raw } from "./link-frames.ts";

interface Held {
  readonly ref: number;
  readonly atNs: MonoNs;
  readonly bytes: number;
  readonly message: Raw;
}

export class HeldMessages {
  #held: Held[] = [];
  #bytes = 0;
  readonly #onRefused: (notice: LinkNotice) => void;

  constructor(onRefused: (notice: LinkNotice) => void) {
    this.#onRefused = onRefused;
  }

  hold(ref: number, message: Raw, atNs: MonoNs): void {
    const bytes = "media" in message ? message.media.audio.length : 0;
    const full =
      this.#held.length >= protocolLimits.LINK_UNKNOWN_REF_ITEMS_MAX ||
      this.#bytes + bytes > protocolLimits.LINK_UNKNOWN_REF_BYTES_MAX;
    if (full) {
      this.#refuse(ref, message, "unknown_ref_overflow");
      return;
    }
    this.#held.push({ ref, atNs, bytes, message });
    this.#bytes += bytes;
  }

  /** What waited for `ref`, in the order in which it came. */
  take(ref: number): Raw[] {
    if (this.#held.length === 0) return [];
    const taken = this.#held.filter((held) => held.ref === ref);
    this.#held = this.#held.filter((held) => held.ref !== ref);
    for (const { bytes } of taken) this.#bytes -= bytes;
    return taken.map(({ message }) => message);
  }

  /** Refuses what has waited too long. */
  expire(now: MonoNs): void {
    const waitNs = msToNs(protocolLimits.LINK_UNKNOWN_REF_WAIT_MS);
    for (let first = this.#held[0]; first !== undefined && now - first.atNs >= waitNs; first = this.#held[0]) {
      this.#held.shift();
      this.#bytes -= first.bytes;
      this.#refuse(first.ref, first.message, "unknown_ref_timeout");
    }
  }

  /** `deadline`, or when the oldest has waited too long, whichever comes first; null when neither does. */
  nextDeadline(deadline: MonoNs | null): MonoNs | null {
    const first = this.#held[0];
    if (first === undefined) return deadline;
    const atNs = monoPlusNs(first.atNs, msToNs(protocolLimits.LINK_UNKNOWN_REF_WAIT_MS));
    return deadline === null || atNs < deadline ? atNs : deadline;
  }

  clear(): void {
    this.#held = [];
    this.#bytes = 0;
  }

  #refuse(ref: number, message: Raw, reason: "unknown_ref_overflow" | "unknown_ref_timeout"): void {
    const lane = "media" in message ? "data" : "control";
    const seq = "media" in message ? message.media.sequence : 0;
    this.#onRefused({ kind: "frame_refused", ref, lane, seq, reason });
  }
}
