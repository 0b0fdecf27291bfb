/** A network between a caller and the platform that can be cut, and healed. */

import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";

export interface CutProxy {
  /** The address with this network in between. */
  through(url: string): string;
  /** Every connection breaks, and none is made until `heal`. */
  cut(): void;
  heal(): void;
  /** Connections that came while it was cut. */
  readonly refused: number;
  close(): Promise<void>;
}

export async function startCutProxy(): Promise<CutProxy> {
  const open = new Set<Socket>();
  let target = 0;
  let isCut = false;
  let refused = 0;
  const join = (from: Socket, to: Socket): void => {
    open.add(from);
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => {
      open.delete(from);
      to.destroy();
    });
  };
  const server = createServer((caller) => {
    if (isCut) {
      refused += 1;
      caller.on("error", () => {});
      caller.destroy();
      return;
    }
    const platform = connect(target, "127.0.0.1");
    join(caller, platform);
    join(platform, caller);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    through(url) {
      const through = new URL(url);
      target = Number(through.port);
      through.port = String((server.address() as AddressInfo).port);
      return through.href;
    },
    cut() {
      isCut = true;
      for (const socket of open) socket.destroy();
    },
    heal() {
      isCut = false;
    },
    get refused() {
      return refused;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
