/** An invocation's instants, nanoseconds; 0 for what has not been. */
export interface ProviderWork {
  readonly openedNs: number;
  readonly firstNs: number;
  readonly endNs: number;
}

/**
 * Of the time from `fromNs` to `toNs`, how much a provider was worked at and waited for: from its opening to its first
 * output, and on from there to the next one's opening where it was still running, since the next then waited for more of it.
 */
export function providerTimeNs(invocations: readonly ProviderWork[], fromNs: number, toNs: number): number {
  const sorted = [...invocations].sort((a, b) => a.openedNs - b.openedNs);
  let spentNs = 0;
  let upToNs = fromNs;
  sorted.forEach((work, i) => {
    const endNs = work.endNs === 0 ? toNs : work.endNs;
    const nextNs = sorted[i + 1]?.openedNs ?? 0;
    const waitedNs = work.firstNs === 0 ? endNs : work.firstNs;
    const untilNs = Math.min(toNs, Math.max(waitedNs, Math.min(nextNs, endNs)));
    const sinceNs = Math.max(upToNs, work.openedNs);
    if (untilNs <= sinceNs) return;
    spentNs += untilNs - sinceNs;
    upToNs = untilNs;
  });
  return spentNs;
}
