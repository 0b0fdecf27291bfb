/**
 * What the client can have played by now. It plays what it is given at once and in order, and tells nobody of it before an
 * interruption; the clock tells how much it can be at most (F-039). Pure but for the instants it is given.
 */
import { realtimeLimits as limits } from "./limits.ts";

export interface Output {
  readonly turn: number;
  readonly generation: number;
  /** Media time of its sound that was sent, microseconds. */
  untilUs: number;
  /** That was heard before the last gap in it, microseconds. */
  leastUs: number;
  /** When the last of that will have been played. */
  outNs: number;
  /** What was reported last, microseconds, and when. */
  reportedNs: number;
  ended: boolean;
}

export class Playback {
  /** By turn and generation, in the order they began. */
  readonly #outputs: Output[] = [];
  #outNs = 0;

  /** A frame that goes out now. */
  sent(turn: number, generation: number, untilUs: number, durationUs: number, nowNs: number): Output {
    const output = this.find(turn, generation) ?? this.#open(turn, generation);
    // Where nothing is being played any more, what was is heard, and the next frame has its way before it.
    const empty = this.#outNs <= nowNs;
    if (empty) output.leastUs = output.untilUs;
    this.#outNs = (empty ? nowNs + limits.PLAYED_AFTER_MS * 1e6 : this.#outNs) + durationUs * 1_000;
    output.untilUs = Math.max(output.untilUs, untilUs);
    output.outNs = this.#outNs;
    return output;
  }

  find(turn: number, generation: number): Output | undefined {
    return this.#outputs.find((one) => one.turn === turn && one.generation === generation);
  }

  /** The newest of that turn with a generation below it. */
  below(turn: number, generation: number): Output | undefined {
    return this.#outputs.findLast((one) => one.turn === turn && one.generation < generation);
  }

  /** Media time that can have been heard, microseconds. */
  playedUs({ leastUs, untilUs, outNs }: Output, nowNs: number): number {
    return Math.max(leastUs, Math.min(untilUs, Math.round(untilUs - (outNs - nowNs) / 1_000)));
  }

  /** The client has dropped what it held. */
  emptied(nowNs: number): void {
    this.#outNs = Math.min(this.#outNs, nowNs);
  }

  forget(output: Output): void {
    const at = this.#outputs.indexOf(output);
    if (at >= 0) this.#outputs.splice(at, 1);
  }

  outputs(): readonly Output[] {
    return this.#outputs;
  }

  /** When all that was sent will have been played. */
  outNs(): number {
    return this.#outNs;
  }

  #open(turn: number, generation: number): Output {
    const made: Output = { turn, generation, untilUs: 0, leastUs: 0, outNs: 0, reportedNs: -1, ended: false };
    this.#outputs.push(made);
    if (this.#outputs.length > limits.OUTPUTS_MAX) this.#outputs.shift();
    return made;
  }
}
