/**
 * Finds steps of the clock that all replicas share (the database's wall clock), by this process's monotonic one. Leases
 * run out by the shared clock: if it leaps forward, a lease would look run out that its holder still counts on, and a
 * successor would act at a receiver too early (kernel.md §7).
 *
 * Each reading bounds the difference between the two clocks; readings that cannot both be true are a step. A slow answer
 * only widens its bounds, so that load is never taken for a step.
 */
export class SharedClock {
  readonly #stepMs: number;
  #low = Number.NEGATIVE_INFINITY;
  #high = Number.POSITIVE_INFINITY;
  #atMs = 0;

  /** @param stepMs smaller steps are let pass; default 500. */
  constructor(stepMs = 500) {
    this.#stepMs = stepMs;
  }

  /**
   * @param sharedMs what the shared clock said at some moment…
   * @param askedMs …between this monotonic instant
   * @param answeredMs …and this one.
   * @returns whether it stepped since the last reading.
   */
  stepped(sharedMs: number, askedMs: number, answeredMs: number): boolean {
    const driftMs = Math.max(0, answeredMs - this.#atMs) * driftMax;
    const low = sharedMs - answeredMs;
    const high = sharedMs - askedMs;
    const knownLow = this.#low - driftMs;
    const knownHigh = this.#high + driftMs;
    this.#atMs = answeredMs;
    if (low > knownHigh + this.#stepMs || high < knownLow - this.#stepMs) {
      this.#low = low;
      this.#high = high;
      return true;
    }
    this.#low = Math.max(low, knownLow);
    this.#high = Math.min(high, knownHigh);
    if (this.#low > this.#high) {
      // Within the tolerated step: the newer reading is the better one.
      this.#low = low;
      this.#high = high;
    }
    return false;
  }
}

/** Clocks that are being slewed run at most this much apart. */
const driftMax = 0.001;
