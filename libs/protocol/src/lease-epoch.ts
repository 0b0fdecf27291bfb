import { invariant } from "@rspp/base/invariant";

const counterSpan = 2 ** 32;
const incarnationMax = 2 ** 21 - 1;

/**
 * An epoch of that store: one safe integer, `incarnation * 2^32 + counter`. The store's incarnation is the high part, so that a store restored from a backup,
 * which must come up under a higher incarnation, cannot repeat what it granted after the backup (kernel.md §7).
 */
export function makeEpoch(storeIncarnation: number, counter: number): number {
  invariant(
    Number.isSafeInteger(storeIncarnation) && storeIncarnation >= 0 && storeIncarnation <= incarnationMax,
    "a store incarnation is an integer of 21 bits",
    storeIncarnation,
  );
  invariant(
    Number.isSafeInteger(counter) && counter >= 0 && counter < counterSpan,
    "an epoch's counter is an integer of 32 bits",
    counter,
  );
  return storeIncarnation * counterSpan + counter;
}

export function epochParts(epoch: number): { storeIncarnation: number; counter: number } {
  return { storeIncarnation: Math.floor(epoch / counterSpan), counter: epoch % counterSpan };
}

/** The lowest epoch above `epoch` that this incarnation may give; null when its counter is spent. */
export function epochAfter(epoch: number, storeIncarnation: number): number | null {
  const parts = epochParts(epoch);
  invariant(
    parts.storeIncarnation <= storeIncarnation,
    "a store never runs under an incarnation below its data's",
    epoch,
  );
  if (parts.storeIncarnation < storeIncarnation) return makeEpoch(storeIncarnation, 1);
  return parts.counter + 1 < counterSpan ? makeEpoch(storeIncarnation, parts.counter + 1) : null;
}
