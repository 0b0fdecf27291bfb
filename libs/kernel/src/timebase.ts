/**
 * Maps media time to the monotonic clock for one session and tracks how well it does (kernel.md §10, NF-018). The least
 * delay seen between a frame's end in media time and its arrival is taken as the true offset, since jitter only ever
 * delays; it is the least over one to two windows, so that drift between the two clocks is followed. Nothing is allocated
 * per call. Nanoseconds, microseconds and milliseconds as named.
 */
import { NS_PER_MS, NS_PER_US } from "@rspp/base/brand";
import { MAX_SKEW_MS, MEDIA_EVENT_US_MAX, MEDIA_OVERLAP_TOLERANCE_US, TIMEBASE_WINDOW_MS } from "./limits.ts";

/** Upper bounds of the error histogram's buckets, milliseconds, each inclusive; a last bucket holds what is above. */
export const TIMEBASE_ERROR_BUCKETS_MS = [0.5, 1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 80, 120, 200, 400, 1000] as const;

export interface Timebase {
  maxSkewMs: number;
  /** Whether anything has been observed; before that nothing is mapped. */
  mapped: boolean;
  /** Monotonic instant of media time 0 at the least delay, nanoseconds; may be negative. */
  offsetNs: number;
  /** Least offset of the running window and of the one before it; the latter null when there is none. */
  windowMinNs: number;
  previousMinNs: number | null;
  windowStartNs: number;
  /** Start and end of the last accepted media, microseconds. */
  lastStartUs: number;
  lastEndUs: number;
  lastNowNs: number;
  lastErrorMs: number;
  rebases: number;
  refusals: number;
  /** Observations per bucket of TIMEBASE_ERROR_BUCKETS_MS, and one for what is above the last. */
  errorCounts: number[];
  errorCount: number;
}

export function timebaseCreate(maxSkewMs: number = MAX_SKEW_MS): Timebase {
  return {
    maxSkewMs,
    mapped: false,
    offsetNs: 0,
    windowMinNs: 0,
    previousMinNs: null,
    windowStartNs: 0,
    lastStartUs: 0,
    lastEndUs: 0,
    lastNowNs: 0,
    lastErrorMs: 0,
    rebases: 0,
    refusals: 0,
    errorCounts: TIMEBASE_ERROR_BUCKETS_MS.map(() => 0).concat(0),
    errorCount: 0,
  };
}

/**
 * Takes in one media event that arrived at `nowNs`. "refused": media time ran backwards, or the numbers make no sense;
 * nothing changed but the count. "rebased": the mapping was off by more than maxSkewMs and starts anew from this event.
 */
export function timebaseObserve(
  tb: Timebase,
  mediaUs: number,
  durationUs: number,
  nowNs: number,
): "ok" | "rebased" | "refused" {
  if (!sane(tb, mediaUs, durationUs, nowNs)) {
    tb.refusals++;
    return "refused";
  }
  const endUs = mediaUs + durationUs;
  const observedNs = nowNs - endUs * NS_PER_US;
  tb.lastStartUs = mediaUs;
  tb.lastEndUs = endUs;
  tb.lastNowNs = nowNs;
  if (!tb.mapped) {
    restart(tb, observedNs, nowNs);
    tb.mapped = true;
    note(tb, 0);
    return "ok";
  }
  const errorMs = Math.abs(observedNs - tb.offsetNs) / NS_PER_MS;
  note(tb, errorMs);
  if (errorMs > tb.maxSkewMs) {
    restart(tb, observedNs, nowNs);
    tb.rebases++;
    return "rebased";
  }
  follow(tb, observedNs, nowNs);
  return "ok";
}

/** Last |mapping error|, milliseconds: `media_runtime_mapping_error_ms`. */
export function timebaseErrorMs(tb: Timebase): number {
  return tb.lastErrorMs;
}

/**
 * Upper bound of the bucket that holds the `q` quantile (0 … 1) of all mapping errors so far, milliseconds; 0 before the
 * first, Infinity above the last bucket.
 */
export function timebaseErrorQuantileMs(tb: Timebase, q: number): number {
  if (tb.errorCount === 0) return 0;
  const rank = Math.max(1, Math.ceil(q * tb.errorCount));
  let seen = 0;
  for (let i = 0; i < TIMEBASE_ERROR_BUCKETS_MS.length; i++) {
    seen += tb.errorCounts[i] ?? 0;
    if (seen >= rank) return TIMEBASE_ERROR_BUCKETS_MS[i] ?? Number.POSITIVE_INFINITY;
  }
  return Number.POSITIVE_INFINITY;
}

function sane(tb: Timebase, mediaUs: number, durationUs: number, nowNs: number): boolean {
  if (!Number.isSafeInteger(mediaUs) || mediaUs < 0) return false;
  if (!(durationUs >= 0 && durationUs <= MEDIA_EVENT_US_MAX)) return false;
  if (!tb.mapped) return true;
  return nowNs >= tb.lastNowNs && mediaUs >= tb.lastStartUs && mediaUs >= tb.lastEndUs - MEDIA_OVERLAP_TOLERANCE_US;
}

function restart(tb: Timebase, observedNs: number, nowNs: number): void {
  tb.offsetNs = observedNs;
  tb.windowMinNs = observedNs;
  tb.previousMinNs = null;
  tb.windowStartNs = nowNs;
}

function follow(tb: Timebase, observedNs: number, nowNs: number): void {
  if (nowNs - tb.windowStartNs >= TIMEBASE_WINDOW_MS * NS_PER_MS) {
    tb.previousMinNs = tb.windowMinNs;
    tb.windowMinNs = observedNs;
    tb.windowStartNs = nowNs;
  } else if (observedNs < tb.windowMinNs) {
    tb.windowMinNs = observedNs;
  }
  tb.offsetNs = tb.previousMinNs !== null && tb.previousMinNs < tb.windowMinNs ? tb.previousMinNs : tb.windowMinNs;
}

function note(tb: Timebase, errorMs: number): void {
  tb.lastErrorMs = errorMs;
  let bucket = 0;
  while (bucket < TIMEBASE_ERROR_BUCKETS_MS.length && errorMs > (TIMEBASE_ERROR_BUCKETS_MS[bucket] ?? 0)) bucket++;
  tb.errorCounts[bucket] = (tb.errorCounts[bucket] ?? 0) + 1;
  tb.errorCount++;
}
