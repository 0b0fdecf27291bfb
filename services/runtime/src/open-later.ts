/** An invocation that begins after a wait (F-059): what it is given meanwhile is held, a cancel ends it there and then. */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationSink } from "@rspp/ports/provider";

/** @param failed told when `open` throws, or what was held cannot be pushed. */
export function openLater(
  clock: Clock,
  afterMs: number,
  open: () => Invocation,
  sink: InvocationSink,
  failed: (error: unknown) => void,
): Invocation {
  const held: (InvocationInput | "finish")[] = [];
  let inner: Invocation | null = null;
  const timer = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(afterMs)), () => {
    try {
      inner = open();
      for (const input of held.splice(0)) {
        if (input === "finish") inner.finish();
        else inner.push(input);
      }
    } catch (error) {
      failed(error);
    }
  });
  return {
    push(input) {
      if (inner !== null) inner.push(input);
      else held.push(input);
    },
    finish() {
      if (inner !== null) inner.finish();
      else held.push("finish");
    },
    cancel(reason) {
      if (inner !== null) return inner.cancel(reason);
      timer.clear();
      sink.outcome({ kind: "cancelled", detail: "cancelled before it was asked again" });
    },
  };
}
