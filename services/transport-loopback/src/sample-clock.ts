/** A device's sample counter as a function of monotonic time: exact integers, no drift, no tick. */
import { asMonoNs, type MonoNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";

const NS_PER_S = 1_000_000_000;
const US_PER_S = 1_000_000;

export interface SampleClock {
  readonly rateHz: number;
  readonly originNs: MonoNs;
  /** Samples that have wholly passed at `atNs`; 0 before the origin. */
  samplesAt(atNs: MonoNs): number;
  /** The first instant at which `samplesAt` is `sample` or more. */
  instantOf(sample: number): MonoNs;
}

/** Sample k covers [instantOf(k), instantOf(k + 1)). `rateHz` is 4000 to 192000. */
export function createSampleClock(originNs: MonoNs, rateHz: number): SampleClock {
  invariant(Number.isInteger(rateHz) && rateHz >= 4_000 && rateHz <= 192_000, "a rate is 4 to 192 kHz", rateHz);
  return {
    rateHz,
    originNs,
    samplesAt(atNs) {
      // In whole seconds and a rest, because nanoseconds × rate leaves the safe integers after a few minutes.
      const ns = Math.max(0, atNs - originNs);
      return Math.floor(ns / NS_PER_S) * rateHz + Math.floor(((ns % NS_PER_S) * rateHz) / NS_PER_S);
    },
    instantOf(sample) {
      const rest = Math.ceil(((sample % rateHz) * NS_PER_S) / rateHz);
      return asMonoNs(originNs + Math.floor(sample / rateHz) * NS_PER_S + rest);
    },
  };
}

/** Media time of `samples` at `rateHz`, microseconds, rounded down: what is not wholly played does not count. */
export function samplesToUs(samples: number, rateHz: number): number {
  return Math.floor((samples * US_PER_S) / rateHz);
}

/** The fewest samples that last at least `us` microseconds. */
export function usToSamples(us: number, rateHz: number): number {
  return Math.ceil((us * rateHz) / US_PER_S);
}
