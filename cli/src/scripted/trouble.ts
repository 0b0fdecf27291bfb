/** Trouble on the line between caller and runtime, by a script: frames lost and frames late, from a seed. */
import { type MonoNs, msToNs } from "@rspp/base/brand";
import { createStream, nextFloat } from "@rspp/base/random";
import type { Clock } from "@rspp/ports/clock";

export interface Trouble {
  /** From here on. */
  set(trouble: { lossPercent?: number; jitterMs?: number }): void;
  /** One direction of the line: messages come out in the order they went in. */
  way<T extends { readonly kind: string }>(deliver: (message: T) => void): (message: T) => void;
  /** Audio frames lost so far. */
  lost(): number;
}

/** Only audio is lost, and never an end mark; what follows a late frame waits for it, as on an ordered transport. */
export function createTrouble({ clock, seed }: { clock: Clock; seed: string }): Trouble {
  const random = createStream(seed, 1, "network");
  let lossPercent = 0;
  let jitterMs = 0;
  let lost = 0;
  return {
    set(trouble) {
      lossPercent = trouble.lossPercent ?? lossPercent;
      jitterMs = trouble.jitterMs ?? jitterMs;
    },
    way(deliver) {
      let lastNs = 0;
      let waiting = 0;
      return (message) => {
        const audio =
          message.kind === "audio" || (message.kind === "media" && !("end" in message && message.end === true));
        if (audio && lossPercent > 0 && nextFloat(random) * 100 < lossPercent) {
          lost += 1;
          return;
        }
        const lateMs = jitterMs > 0 && audio ? nextFloat(random) * jitterMs : 0;
        // A fence overtakes everything: it says what of the rest is still wanted.
        if ((lateMs === 0 && waiting === 0) || message.kind === "fence") return deliver(message);
        const kept =
          "bytes" in message && message.bytes instanceof Uint8Array
            ? { ...message, bytes: message.bytes.slice() }
            : message;
        lastNs = Math.max(lastNs, clock.nowNs() + msToNs(lateMs));
        waiting += 1;
        clock.timerAt(lastNs as MonoNs, () => {
          waiting -= 1;
          deliver(kept);
        });
      };
    },
    lost: () => lost,
  };
}
