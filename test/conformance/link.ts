/** The loopback adapter under the contract once more, with a link between it and the session: a link changes nothing. */
import { asMonoNs } from "@rspp/base/brand";
import { createSystemClock } from "@rspp/host/system-clock";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { Caller, remoteRig, signGrant } from "../integration/remote-session-rig.ts";
import { until } from "../integration/websocket-rig.ts";
import { type Adapter, Ear } from "./adapter.ts";
import { joined } from "./loopback.ts";

export async function overLink(): Promise<Adapter> {
  const clock = createSystemClock();
  const rig = await remoteRig();
  return {
    name: "loopback over a link",
    open: async (id) => {
      const ear = new Ear();
      const caller = new Caller();
      const request = caller.request(id);
      const opened = await rig.opener.open({
        ...request,
        transport: { send: (message) => adapter.send(message) },
        raiseEpoch: (epoch) => adapter.raiseEpoch(epoch),
      });
      if (!opened.ok) throw new Error(JSON.stringify(opened.error));
      const host = rig.hosted.get(id);
      if (host === undefined) throw new Error(`${id} is not hosted`);
      let { epoch } = opened.value;
      const adapter = createLoopbackAdapter({
        clock,
        epoch,
        onPlayed: ({ turn, samples }) => ear.hear(turn, (samples.length * 1e6) / 16_000),
      });
      adapter.connect(opened.value.session);
      return {
        epoch,
        received: () => host.heard,
        send: (message) => host.send(message),
        speak: (frames) => void adapter.speak(joined(frames)),
        endOfUtterance: () => adapter.endOfUtterance(),
        stop: () => adapter.stop(),
        hangUp: () => adapter.end(),
        heardUs: (turn) => ear.heardUs(turn),
        raiseEpoch: async (raised) => {
          if (raised < epoch) return false;
          epoch = raised;
          host.open.announceFloor(signGrant({ session: id, epoch }));
          await until(() => host.floors.includes(epoch), "the floor");
          return true;
        },
        close: async () => {
          adapter.end();
          await new Promise<void>((resolve) => clock.timerAt(asMonoNs(clock.nowNs()), resolve));
        },
      };
    },
    close: () => rig.stop(),
  };
}
