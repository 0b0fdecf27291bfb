import { NS_PER_MS } from "@rspp/base/brand";

/** Buckets an octave, so that a value is known to one part in a thousand. */
const PER_OCTAVE = 512;
const LINEAR = PER_OCTAVE * 2;
const OCTAVES = 33;
/** One hour. */
const HIGHEST_NS = 3_600_000_000_000;
const HALF_WORD = 2 ** 31;

export interface HistogramSummary {
  count: number;
  meanMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  maxMs: number;
}

/**
 * Lengths of time, 1 ns to 1 h, three significant figures (F-040, F-068). Recording is an index and an addition; octaves in
 * which nothing falls hold no memory.
 */
export class Histogram {
  count = 0;
  sumNs = 0;
  maxNs = 0;
  private readonly octaves: (Uint32Array | null)[] = Array.from({ length: OCTAVES + 1 }, () => null);

  /** What is longer or shorter than it can hold counts as the nearest it can. */
  record(ns: number): void {
    const value = Math.min(HIGHEST_NS, Math.max(1, Math.round(ns)));
    this.count += 1;
    this.sumNs += value;
    if (value > this.maxNs) this.maxNs = value;
    const octave = octaveOf(value);
    this.octaves[octave] ??= new Uint32Array(octave === 0 ? LINEAR : PER_OCTAVE);
    const cells = this.octaves[octave] as Uint32Array;
    const at = octave === 0 ? value : Math.floor(value / 2 ** octave) - PER_OCTAVE;
    cells[at] = (cells[at] ?? 0) + 1;
  }

  /** @param percent 0 to 100. @returns nanoseconds; 0 while empty. */
  percentile(percent: number): number {
    const rank = Math.max(1, Math.ceil((percent / 100) * this.count));
    let seen = 0;
    let found = 0;
    this.each((valueNs, count) => {
      if (seen < rank) found = valueNs;
      seen += count;
    });
    return Math.min(found, this.maxNs);
  }

  /** How many lie at or below each bound, and not at or below the one before; the last cell is what is above them all. */
  counts(boundsNs: readonly number[]): number[] {
    const counts = new Array<number>(boundsNs.length + 1).fill(0);
    let bound = 0;
    this.each((valueNs, count) => {
      while (bound < boundsNs.length && valueNs > (boundsNs[bound] as number)) bound += 1;
      counts[bound] = (counts[bound] as number) + count;
    });
    return counts;
  }

  summary(): HistogramSummary {
    const ms = (percent: number): number => this.percentile(percent) / NS_PER_MS;
    const meanMs = this.count === 0 ? 0 : this.sumNs / this.count / NS_PER_MS;
    return { count: this.count, meanMs, p50Ms: ms(50), p95Ms: ms(95), p99Ms: ms(99), maxMs: this.maxNs / NS_PER_MS };
  }

  /** Rising. */
  private each(visit: (valueNs: number, count: number) => void): void {
    for (const [octave, cells] of this.octaves.entries()) {
      for (let i = 0; cells !== null && i < cells.length; i++) {
        const count = cells[i] as number;
        if (count > 0) visit(octave === 0 ? i : (i + PER_OCTAVE + 0.5) * 2 ** octave, count);
      }
    }
  }
}

function octaveOf(value: number): number {
  if (value < LINEAR) return 0;
  const log2 = value < HALF_WORD ? 31 - Math.clz32(value) : 62 - Math.clz32(value / HALF_WORD);
  return log2 - 9;
}
