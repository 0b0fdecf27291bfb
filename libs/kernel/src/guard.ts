/** The epoch check at ingress (`kernel.md` §7; F-156). */
import { checkEpoch } from "./authority.ts";
import { dedupeKey, dedupeSequence } from "./identity.ts";
import { type StepContext, signal } from "./step-context.ts";

/** T12: a stale epoch is refused, each time with a marker, and changes nothing; an unknown one needs the lease service's grant. */
export function epochFits(cx: StepContext, epoch: number, what: string): boolean {
  const verdict = checkEpoch(cx.s.authority, epoch);
  if (verdict === "ok") return true;
  cx.s.counters.staleRefused += 1;
  const fields = { scope: "scheduling_point", epochOld: epoch, epochNew: cx.s.authority.knownEpoch };
  signal(cx, "stale_epoch_reject", "guard", 0, `${verdict}_epoch_${what}`, fields, false);
  return false;
}

/** F-158: counted; one that a key gives away is told with the runtime sequence of the first, so that lineage is kept. */
export function seenBefore(cx: StepContext, source: string, sequence: number, key: string): boolean {
  const { dedupe, counters } = cx.s;
  const repeated = dedupeSequence(dedupe, source, sequence) === "duplicate";
  const first = repeated ? null : dedupeKey(dedupe, key, cx.s.seq + 1);
  if (!repeated && first === null) return false;
  counters.duplicates += 1;
  if (first !== null) toldDuplicate(cx, first);
  return true;
}

export function toldDuplicate(cx: StepContext, first: number): void {
  cx.effects.push({ type: "telemetry", name: "duplicate_dropped", value: first, turn: 0, node: "" });
}
