/** The second stage where Silero is not installed: level above a noise floor, and a voice's periodicity. */

const decimation = 4;
const shortSamples = 80;
/** Pitch of 80 to 400 Hz as lags at 4 kHz. */
const lagMin = 10;
const lagMax = 50;
const periodicMin = 0.55;
/** Unvoiced sounds count as speech this long after a voiced one: 200 ms. */
const voicedHangFrames = 10;
const marginDb = 9;
const quietDb = -52;
const floorMinDb = -75;
const floorMaxDb = -25;
/** The floor falls at once to what is quieter, and rises 3 dB a second. */
const floorRiseDb = 0.06;

export interface VadResult {
  speech: boolean;
  /** 0 to 1; how sure the second stage is. */
  probability: number;
}

/** Level of a frame in dB relative to full scale, not below -100. */
export function levelDb(samples: Int16Array): number {
  let sum = 0;
  for (let i = 0; i < samples.length; i++) {
    const value = samples[i] ?? 0;
    sum += value * value;
  }
  const level = Math.sqrt(sum / Math.max(1, samples.length)) / 32768;
  return level <= 1e-5 ? -100 : 20 * Math.log10(level);
}

/** One session's rule; synchronous. Works on frames of 320 samples. */
export class EnergyRule {
  readonly #window = new Float32Array(shortSamples * 2);
  #floorDb = floorMinDb;
  #sinceVoiced = voicedHangFrames + 1;
  #primed = false;

  /** `open` is the gate's opinion; where it is shut only the noise floor is followed. */
  decide(samples: Int16Array, open: boolean): VadResult {
    const level = levelDb(samples);
    this.#shift(samples);
    this.#followFloor(level);
    const loud = level > Math.max(this.#floorDb + marginDb, quietDb);
    const voiced = open && loud && this.#periodicity() >= periodicMin;
    this.#sinceVoiced = voiced ? 0 : this.#sinceVoiced + 1;
    const speech = open && loud && this.#sinceVoiced <= voicedHangFrames;
    const margin = 1 / (1 + Math.exp(-(level - this.#floorDb - marginDb) / 4));
    return { speech, probability: speech ? Math.max(0.5, margin) : Math.min(0.45, margin * 0.4) };
  }

  reset(): void {
    this.#window.fill(0);
    this.#floorDb = floorMinDb;
    this.#sinceVoiced = voicedHangFrames + 1;
    this.#primed = false;
  }

  #followFloor(level: number): void {
    const bounded = Math.min(Math.max(level, floorMinDb), floorMaxDb);
    if (!this.#primed) this.#floorDb = Math.min(bounded, -45);
    else if (bounded < this.#floorDb) this.#floorDb += (bounded - this.#floorDb) * 0.5;
    else this.#floorDb = Math.min(this.#floorDb + floorRiseDb, bounded);
    this.#primed = true;
  }

  #shift(samples: Int16Array): void {
    this.#window.copyWithin(0, shortSamples);
    for (let i = 0; i < shortSamples; i++) {
      let sum = 0;
      for (let j = 0; j < decimation; j++) sum += samples[i * decimation + j] ?? 0;
      this.#window[shortSamples + i] = sum;
    }
  }

  /** The highest normalised autocorrelation over the lags of a voice, in 40 ms. */
  #periodicity(): number {
    const w = this.#window;
    let mean = 0;
    for (let i = 0; i < w.length; i++) mean += w[i] ?? 0;
    mean /= w.length;
    let best = 0;
    for (let lag = lagMin; lag <= lagMax; lag++) {
      let cross = 0;
      let left = 0;
      let right = 0;
      for (let i = lag; i < w.length; i++) {
        const a = (w[i] ?? 0) - mean;
        const b = (w[i - lag] ?? 0) - mean;
        cross += a * b;
        left += a * a;
        right += b * b;
      }
      const value = cross / Math.sqrt(left * right + 1);
      if (value > best) best = value;
    }
    return best;
  }
}
