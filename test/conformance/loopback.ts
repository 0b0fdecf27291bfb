/** The loopback adapter under the contract, in real time. */
import { asMonoNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import type { TransportIngress } from "@rspp/ports/transport";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { type Adapter, Ear } from "./adapter.ts";

export function loopback(): Adapter {
  const clock = createSystemClock();
  return {
    name: "loopback",
    open: () => {
      const received: TransportIngress[] = [];
      const ear = new Ear();
      const adapter = createLoopbackAdapter({
        clock,
        epoch: 1,
        onPlayed: ({ turn, samples }) => ear.hear(turn, (samples.length * 1e6) / 16_000),
      });
      adapter.connect({ receive: (message) => void received.push(message) });
      return Promise.resolve({
        epoch: 1,
        received: () => received,
        send: (message) => adapter.send(message),
        speak: (frames) => void adapter.speak(joined(frames)),
        endOfUtterance: () => adapter.endOfUtterance(),
        stop: () => adapter.stop(),
        hangUp: () => adapter.end(),
        heardUs: (turn) => ear.heardUs(turn),
        raiseEpoch: (epoch) => Promise.resolve(adapter.raiseEpoch(epoch)),
        close: async () => {
          adapter.end();
          await new Promise<void>((resolve) => clock.timerAt(asMonoNs(clock.nowNs()), resolve));
        },
      });
    },
    close: () => Promise.resolve(),
  };
}

export function joined(frames: readonly Int16Array[]): Int16Array {
  const all = new Int16Array(frames.length * 320);
  frames.forEach((frame, i) => {
    all.set(frame, i * 320);
  });
  return all;
}
