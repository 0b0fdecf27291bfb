import { createStream, nextFloat, nextInt, type RandomStream } from "@rspp/base/random";

/** Everything drawn in a run comes from one seed, by named streams: a new stream shifts none of the others. */
export class Rng {
  readonly #seed: string;
  readonly #stream: RandomStream;

  constructor(seed: string, name: string) {
    this.#seed = `${seed}/${name}`;
    this.#stream = createStream(seed, 0, name);
  }

  fork(name: string): Rng {
    return new Rng(this.#seed, name);
  }

  /** An integer in [lo, hi]. */
  int(lo: number, hi: number): number {
    return nextInt(this.#stream, lo, hi);
  }

  /** A number in [lo, hi). */
  float(lo: number, hi: number): number {
    return lo + nextFloat(this.#stream) * (hi - lo);
  }

  /** True in `percent` of 100 draws. */
  chance(percent: number): boolean {
    return nextFloat(this.#stream) * 100 < percent;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)] as T;
  }

  /** By weight; the weights need not sum to anything. */
  weighted<T extends string>(weights: Readonly<Record<T, number>>): T {
    const entries = Object.entries(weights) as [T, number][];
    let at = this.float(
      0,
      entries.reduce((sum, [, weight]) => sum + weight, 0),
    );
    for (const [name, weight] of entries) {
      at -= weight;
      if (at < 0) return name;
    }
    return (entries.at(-1) as [T, number])[0];
  }
}
