/** Calls on the stub of Google's clients: begun on a connection that stands, and cancelled for certain. */

/** The part of a gRPC stub used here. */
export interface Connectable {
  getChannel(): {
    /** 0 idle, 1 connecting, 2 ready, 3 failed, 4 shut down. */
    getConnectivityState(connect: boolean): number;
    watchConnectivityState(state: number, deadline: number, done: (error?: Error) => void): void;
  };
}

const ready = 2;
const failed = 3;

/** Tells once whether the connection stands; nothing when it neither stands nor fails within the time. */
export function whenConnected(stub: Connectable, withinMs: number, tell: (connected: boolean) => void): void {
  // gRPC takes its deadlines as dates, and compares them to the clock of the machine.
  const untilMs = performance.timeOrigin + performance.now() + withinMs;
  const channel = stub.getChannel();
  const look = (): void => {
    const state = channel.getConnectivityState(true);
    if (state === ready) return tell(true);
    if (state >= failed) return tell(false);
    channel.watchConnectivityState(state, untilMs, (error) => {
      if (error === undefined || error === null) look();
    });
  };
  look();
}

/**
 * Cancels a call, twice: one that is cancelled in the tick of its start is told to be, and begun at the server all the same,
 * where it would run on (and be billed) to its deadline.
 */
export function cancelCall(call: { cancel(): void }): void {
  call.cancel();
  setImmediate(() => call.cancel());
}
