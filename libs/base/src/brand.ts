import { invariant } from "./invariant.ts";

// kernel.md §10: three clocks, three types that do not mix. The brand exists for the compiler alone.
declare const clock: unique symbol;

/**
 * Monotonic instant in nanoseconds since the shell's own origin; a safe integer, not negative. 2^53 ns are 104 days, so
 * the origin is the start of the process, never the boot of the machine or 1970.
 */
export type MonoNs = number & { readonly [clock]: "MonoNs" };

/** Wall time in milliseconds since 1970 UTC; a safe integer. For correlation only, never for latency or order. */
export type WallMs = number & { readonly [clock]: "WallMs" };

/** Media time in microseconds on one stream's own axis; a safe integer, negative before the stream's origin. */
export type MediaUs = number & { readonly [clock]: "MediaUs" };

export const NS_PER_MS = 1_000_000;
export const US_PER_MS = 1_000;
export const NS_PER_US = 1_000;

/** @throws InvariantError unless `n` is a safe integer and not negative. */
export function asMonoNs(n: number): MonoNs {
  invariant(Number.isSafeInteger(n) && n >= 0, "a monotonic instant is a safe integer of nanoseconds, not negative", n);
  return n as MonoNs;
}

/** @throws InvariantError unless `n` is a safe integer. */
export function asWallMs(n: number): WallMs {
  invariant(Number.isSafeInteger(n), "a wall instant is a safe integer of milliseconds", n);
  return n as WallMs;
}

/** @throws InvariantError unless `n` is a safe integer. */
export function asMediaUs(n: number): MediaUs {
  invariant(Number.isSafeInteger(n), "a media instant is a safe integer of microseconds", n);
  return n as MediaUs;
}

/** The instant `ns` nanoseconds after `at`; `ns` may be negative as long as the sum is not. */
export function monoPlusNs(at: MonoNs, ns: number): MonoNs {
  return asMonoNs(at + ns);
}

/** A duration: milliseconds (fractions allowed) to whole nanoseconds. */
export function msToNs(ms: number): number {
  return Math.round(ms * NS_PER_MS);
}

/** A duration: nanoseconds to milliseconds, with its fraction. */
export function nsToMs(ns: number): number {
  return ns / NS_PER_MS;
}
