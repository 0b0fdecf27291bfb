/** A share of one core as a bucket (F-107): what an event used beyond it is waited off before the next. */

/** What may be used ahead of the share: a burst after a pause. */
const BURST_MS = 200;

export class CpuBudget {
  private readonly share: number;
  private readonly nowMs: () => number;
  private ms = BURST_MS;
  private atMs: number;

  /** @param percent of one core; 100 and more is no limit. */
  constructor(percent: number, nowMs: () => number) {
    this.share = percent / 100;
    this.nowMs = nowMs;
    this.atMs = nowMs();
  }

  spend(us: number): void {
    this.refill();
    this.ms -= us / 1_000;
  }

  /** Until the next event may be given out, milliseconds. */
  waitMs(): number {
    if (this.share >= 1) return 0;
    this.refill();
    return this.ms >= 0 ? 0 : -this.ms / this.share;
  }

  private refill(): void {
    const now = this.nowMs();
    this.ms = Math.min(BURST_MS, this.ms + (now - this.atMs) * this.share);
    this.atMs = now;
  }
}
