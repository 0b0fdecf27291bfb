/**
 * The agent's audio at a carrier that plays what it is given and sends marks back when it has (F-039, F-085). Little is
 * given ahead; a barge-in clears it, and what was heard is what the last mark says, plus the time since.
 */
import type { Clock } from "@rspp/ports/clock";
import type { AgentLine, Fence, Flush } from "@rspp/transport/agent-line";
import type { Media } from "@rspp/transport/audio-out";
import { PacedOutput } from "@rspp/transport/paced-output";
import { limits } from "./limits.ts";

export interface Carrier {
  media(payload: Uint8Array): void;
  mark(name: string): void;
  clear(): void;
}

interface Mark {
  readonly name: string;
  readonly turn: number;
  readonly generation: number;
  /** Media time of the turn that was heard when it comes back, microseconds. */
  readonly untilUs: number;
  readonly end: boolean;
}

export interface CarrierOutputOptions {
  readonly clock: Pick<Clock, "nowNs" | "timerAt">;
  readonly agent: () => AgentLine;
  /** Audio given to the carrier ahead of what it plays, milliseconds. */
  readonly leadMs: number;
  /** A mark after so much audio, milliseconds; the first and the last frame of a turn have one each. */
  readonly markEveryMs: number;
  /** The carrier, while the call has one. */
  readonly carrier: () => Carrier | null;
}

export class CarrierOutput {
  readonly counts = { marksOut: 0, marksBack: 0, marksCancelled: 0, marksUnknown: 0, clears: 0, dropped: 0 };
  readonly #options: CarrierOutputOptions;
  readonly #paced: PacedOutput;
  /** Given to the carrier and not known to be heard, in order. */
  #given: Media[] = [];
  #marks: Mark[] = [];
  /** Names of marks that a clear has sent back early. */
  readonly #cancelled = new Set<string>();
  #sinceMarkUs = 0;
  #line = "";
  #numbered = 0;
  /** The last mark that came back as heard, and when. */
  #heard: { turn: number; generation: number; untilUs: number; atNs: number } | null = null;

  constructor(options: CarrierOutputOptions) {
    this.#options = options;
    this.#paced = new PacedOutput({ clock: options.clock, leadMs: options.leadMs, play: (media) => this.#play(media) });
  }

  push(media: Media): void {
    if (!this.#paced.push(media)) this.counts.dropped += 1;
  }

  cut(fenced: (turn: number, generation: number) => boolean): number {
    return this.#paced.cut(fenced);
  }

  hold(turn: number): void {
    this.#paced.hold(turn);
  }

  resume(): void {
    this.#paced.resume();
  }

  /** Has the carrier drop what it holds, and answers with what was heard; what was not fenced is given again. */
  flush(fence: Fence, flush: Flush, cut: number, fenced: (turn: number, generation: number) => boolean): void {
    const { agent } = this.#options;
    const playedUs = this.#heardOf(fence.turn, (generation) => generation < fence.generation);
    const unheard = ({ turn, offsetUs, durationUs }: Media): boolean =>
      turn !== fence.turn || offsetUs + durationUs > playedUs;
    const lost = this.#given.filter((media) => fenced(media.turn, media.generation) && unheard(media)).length;
    if (lost > 0 || this.#marks.some(({ turn, generation }) => fenced(turn, generation))) this.#clear(fenced);
    agent().flushed(flush, playedUs, cut + lost);
  }

  /** The carrier sends a mark back: everything before it was heard, or cleared. */
  marked(name: string): void {
    if (this.#cancelled.delete(name)) {
      this.counts.marksCancelled += 1;
      return;
    }
    const at = this.#marks.findIndex((mark) => mark.name === name);
    if (at < 0) {
      this.counts.marksUnknown += 1;
      return;
    }
    // They come back in the order they went; one that is missing was heard all the same.
    for (const mark of this.#marks.splice(0, at + 1)) this.#reached(mark);
  }

  /** Nothing waits, and the carrier has played all it was given. */
  quiet(): boolean {
    return this.#paced.waiting() === 0 && this.#marks.length === 0;
  }

  /** The connection is gone, and with it what the carrier held: whoever comes back hears it then. */
  away(): void {
    this.#paced.stop();
    this.#paced.unshift(this.#given);
    this.#given = [];
    this.#line = "";
    this.#marks = [];
    this.#cancelled.clear();
  }

  back(): void {
    this.#paced.restart();
  }

  close(): void {
    this.away();
    this.#paced.close();
  }

  #play(media: Media): void {
    const carrier = this.#options.carrier();
    if (carrier === null) return;
    const { turn, generation, bytes, offsetUs, durationUs, end } = media;
    if (bytes.length > 0) carrier.media(bytes);
    this.#given.push(media);
    const untilUs = offsetUs + durationUs;
    this.#options.agent().written(turn, generation, untilUs);
    const line = `${turn}.${generation}`;
    const first = line !== this.#line;
    this.#line = line;
    this.#sinceMarkUs = first ? 0 : this.#sinceMarkUs + durationUs;
    if (!first && !end && this.#sinceMarkUs < this.#options.markEveryMs * 1_000) return;
    if (this.#marks.length >= limits.MARKS_MAX && !end) return;
    this.#sinceMarkUs = 0;
    this.#numbered += 1;
    const name = `${line}.${this.#numbered}`;
    this.#marks.push({ name, turn, generation, untilUs, end });
    this.counts.marksOut += 1;
    carrier.mark(name);
  }

  #reached({ turn, generation, untilUs, end }: Mark): void {
    this.counts.marksBack += 1;
    this.#heard = { turn, generation, untilUs, atNs: this.#options.clock.nowNs() };
    const heard = this.#given.findIndex(
      (media) => media.turn === turn && media.generation === generation && media.offsetUs + media.durationUs >= untilUs,
    );
    // What came before it, of whichever turn, was heard before it.
    this.#given.splice(0, heard + 1);
    // A turn's output settles in its own time: nobody was told of the session's own sounds.
    this.#options.agent().played({ turn, generation, state: end ? "completed" : "playing", playedUs: untilUs });
  }

  /** Media time of the turn's cut output that was heard, microseconds: by its last mark, and the clock since. */
  #heardOf(turn: number, cut: (generation: number) => boolean): number {
    const heard = this.#heard;
    if (heard === null || heard.turn !== turn || !cut(heard.generation)) return 0;
    const next = this.#marks[0];
    const sinceUs = (this.#options.clock.nowNs() - heard.atNs) / 1_000;
    if (next === undefined || next.turn !== turn || next.generation !== heard.generation) return heard.untilUs;
    return Math.round(Math.min(heard.untilUs + sinceUs, next.untilUs));
  }

  #clear(fenced: (turn: number, generation: number) => boolean): void {
    for (const { name } of this.#marks) {
      this.#cancelled.add(name);
      const [oldest] = this.#cancelled;
      if (this.#cancelled.size > limits.MARKS_MAX && oldest !== undefined) this.#cancelled.delete(oldest);
    }
    this.#marks = [];
    this.counts.clears += 1;
    this.#options.carrier()?.clear();
    const again = this.#given.filter(({ turn, generation }) => !fenced(turn, generation));
    this.#given = [];
    this.#line = "";
    this.#paced.unshift(again);
    this.#paced.emptied();
  }
}
