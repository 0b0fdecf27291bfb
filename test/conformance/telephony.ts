/** The telephone adapter under the contract, with a carrier as the caller's end. */
import { heardByTurn, openPhone } from "../integration/telephony-rig.ts";
import { until } from "../integration/websocket-rig.ts";
import type { Adapter } from "./adapter.ts";
import { joined } from "./loopback.ts";

export async function telephony(): Promise<Adapter> {
  const rig = await openPhone();
  return {
    name: "telephony",
    // 8 kHz in eight bits.
    lossy: true,
    // A telephone has keys, and neither push to talk nor a stop button.
    buttons: false,
    open: async (id) => {
      const { carrier, session } = await rig.call(id);
      let epoch = 1;
      return {
        epoch,
        received: () => session.received,
        send: (message) => session.transport.send(message),
        speak: (frames) => void carrier.say(joined(frames)),
        press: (digits) => carrier.press(digits),
        endOfUtterance: () => {
          throw new Error("a telephone has no push to talk");
        },
        stop: () => {
          throw new Error("a telephone has no stop button");
        },
        hangUp: () => void carrier.hangUp(),
        heardUs: (turn) => heardByTurn(carrier).get(turn) ?? 0,
        raiseEpoch: (raised) => {
          const took = session.request.raiseEpoch(raised);
          if (took) epoch = raised;
          return Promise.resolve(took);
        },
        close: async () => {
          session.transport.send({ kind: "close", epoch, reason: "completed" });
          await until(() => carrier.closed !== null, "the end of the stream");
          if (carrier.violations.length > 0) throw new Error(carrier.violations.join("; "));
        },
      };
    },
    close: () => rig.transport.close(),
  };
}
