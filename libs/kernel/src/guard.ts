/** The epoch check at ingress (`kernel.md` §7; F-156). */
import { checkEpoch } from "./authority.ts";
import { type StepContext, signal } from "./step-context.ts";

/** T12: a stale epoch is refused with a marker and changes nothing; an unknown one needs the lease service's grant. */
export function epochFits(cx: StepContext, epoch: number, what: string): boolean {
  const verdict = checkEpoch(cx.s.authority, epoch);
  if (verdict === "ok") return true;
  const n = cx.s.counters.staleRefused;
  cx.s.counters.staleRefused = n + 1;
  // The first of a run is told, then every fiftieth: an old adapter sends fifty frames a second.
  if (n % STALE_TOLD_EVERY === 0) {
    signal(
      cx,
      "stale_epoch_reject",
      "guard",
      0,
      `${verdict}_epoch_${what}`,
      { scope: "scheduling_point", epochOld: epoch, epochNew: cx.s.authority.epoch },
      false,
    );
  }
  return false;
}

const STALE_TOLD_EVERY = 50;
