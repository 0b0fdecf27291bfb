/** The WebSocket adapter under the contract, with the shipped client as the caller's end. */
import { join, openFake, tokenOf, until } from "../integration/websocket-rig.ts";
import { type Adapter, Ear } from "./adapter.ts";

export async function websocket(encoding: "binary" | "json"): Promise<Adapter> {
  const rig = await openFake();
  return {
    name: `websocket, ${encoding}`,
    open: async (id) => {
      const ear = new Ear();
      const { client } = await join(rig.transport.url, tokenOf(id), {
        encoding,
        onAudio: (frame) => ear.hear(frame.turn, frame.durationUs),
      });
      const session = rig.session(id);
      let epoch = 1;
      return {
        epoch,
        received: () => session.received,
        send: (message) => session.transport.send(message),
        speak: (frames) => {
          for (const frame of frames) client.sendAudio(frame);
        },
        endOfUtterance: () => client.endOfUtterance(),
        stop: () => client.stop(),
        hangUp: () => client.end(),
        heardUs: (turn) => ear.heardUs(turn),
        raiseEpoch: (raised) => {
          const took = session.request.raiseEpoch(raised);
          if (took) epoch = raised;
          return Promise.resolve(took);
        },
        close: async () => {
          client.end();
          session.transport.send({ kind: "close", epoch, reason: "completed" });
          await until(() => client.state === "closed", "the end of the call");
        },
      };
    },
    close: () => rig.transport.close(),
  };
}
