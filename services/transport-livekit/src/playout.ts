/**
 * What the agent's track has played, told by what it was given and what it still holds: the adapter plays itself, so it knows
 * at once what a flush cut off (kernel.md §6; F-033, F-039).
 */
import type { MonoNs } from "@rspp/base/brand";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { AgentLine, Flush } from "@rspp/transport/agent-line";
import type { Media } from "@rspp/transport/audio-out";
import { PacedOutput } from "@rspp/transport/paced-output";
import { type AgentRoom, ROOM_RATE_HZ } from "./agent-room.ts";
import { limits } from "./limits.ts";

/** A frame that the track was given. */
interface Given {
  readonly turn: number;
  readonly generation: number;
  readonly fromUs: number;
  readonly durationUs: number;
  readonly end: boolean;
  readonly bytes: Uint8Array;
}

export interface PlayoutOptions {
  readonly clock: Pick<Clock, "nowNs" | "timerAt">;
  readonly room: Pick<AgentRoom, "play" | "clear" | "queuedMs">;
  readonly agent: Pick<AgentLine, "written" | "played" | "flushed">;
  /** The track has begun to speak, or has nothing more to say. */
  speaking(is: boolean): void;
}

export class Playout {
  readonly #options: PlayoutOptions;
  readonly #paced: PacedOutput;
  /** Oldest first; those that have played are let go as they are told. */
  #given: Given[] = [];
  #timer: TimerHandle | null = null;
  #speaking = false;
  /** By turn, the last few: what was said to have been heard. */
  readonly #told = new Map<number, { generation: number; playedUs: number }>();

  constructor(options: PlayoutOptions) {
    this.#options = options;
    const { clock } = options;
    this.#paced = new PacedOutput({ clock, leadMs: limits.LEAD_MS, play: (media) => this.#give(media) });
  }

  /** False when nothing more can wait. */
  push(media: Media): boolean {
    return this.#paced.push(media);
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

  /** Empties the track of the fenced turns, and answers. `cut`: frames of them that the track was never given. */
  flush(flush: Flush, cut: number, fenced: (turn: number, generation: number) => boolean): void {
    this.#tell();
    const { room, agent } = this.#options;
    const unplayed = unplayedOf(this.#given, room.clear() * 1_000);
    this.#given = [];
    this.#paced.emptied();
    const lost = unplayed.filter(({ turn, generation }) => fenced(turn, generation));
    const first = lost.find(({ turn, generation }) => turn === flush.turn && generation < flush.generation);
    agent.flushed(flush, first?.fromUs ?? this.#heardUs(flush), cut + lost.length);
    // What is not fenced was taken back with the rest: it goes on where it was.
    for (const rest of unplayed) if (!fenced(rest.turn, rest.generation)) this.#put(rest);
    if (this.#given.length === 0) this.#silent();
  }

  /** All that was pushed has been played. */
  idle(): boolean {
    return this.#paced.waiting() === 0 && this.#options.room.queuedMs() === 0;
  }

  /** What is still to be played, milliseconds. */
  leftMs(): number {
    return this.#options.room.queuedMs();
  }

  close(): void {
    this.#timer?.clear();
    this.#timer = null;
    this.#paced.close();
    this.#given = [];
  }

  #put(frame: Given): void {
    if (frame.bytes.byteLength > 0) this.#options.room.play(frame.bytes);
    if (this.#given.length >= limits.GIVEN_MAX) this.#given.shift();
    this.#given.push(frame);
  }

  #give(media: Media): void {
    const { agent } = this.#options;
    const { turn, generation, offsetUs: fromUs, durationUs, end, bytes } = media;
    agent.written(turn, generation, fromUs + durationUs);
    this.#put({ turn, generation, fromUs, durationUs, end, bytes });
    if (!this.#speaking) {
      this.#speaking = true;
      this.#options.speaking(true);
    }
    this.#tell();
  }

  /** Reports what has been played since, and looks again when the rest will have been. */
  #tell(): void {
    const { room } = this.#options;
    let leftUs = room.queuedMs() * 1_000;
    let first = this.#given.length;
    // What the track holds is the newest of what it was given.
    while (first > 0 && leftUs > 0) {
      first -= 1;
      leftUs -= this.#given[first]?.durationUs ?? 0;
    }
    const played = this.#given.slice(0, first);
    this.#given = this.#given.slice(first);
    for (const [index, { turn, generation, fromUs, durationUs, end }] of played.entries()) {
      const next = played[index + 1];
      if (!end && next?.turn === turn && next.generation === generation) continue;
      this.#report(turn, generation, end ? "completed" : "playing", fromUs + durationUs);
    }
    const now = this.#given[0];
    if (now !== undefined && played.at(-1)?.turn !== now.turn) {
      this.#report(now.turn, now.generation, "playing", now.fromUs);
    }
    if (this.#given.length > 0) this.#lookAgain();
    else if (this.#paced.waiting() === 0) this.#silent();
  }

  #report(turn: number, generation: number, state: "playing" | "completed", playedUs: number): void {
    this.#told.delete(turn);
    this.#told.set(turn, { generation, playedUs });
    for (const oldest of this.#told.keys()) if (this.#told.size > limits.TURNS_TOLD_MAX) this.#told.delete(oldest);
    this.#options.agent.played({ turn, generation, state, playedUs });
  }

  /** How far a turn was heard of which the track holds nothing any more. */
  #heardUs({ turn, generation }: Flush): number {
    const told = this.#told.get(turn);
    return told !== undefined && told.generation < generation ? told.playedUs : 0;
  }

  #lookAgain(): void {
    const { clock, room } = this.#options;
    if (this.#timer !== null) return;
    const at: MonoNs = monoPlusNs(clock.nowNs(), msToNs(Math.max(1, room.queuedMs())));
    this.#timer = clock.timerAt(at, () => {
      this.#timer = null;
      this.#tell();
    });
  }

  #silent(): void {
    if (!this.#speaking) return;
    this.#speaking = false;
    this.#options.speaking(false);
  }
}

/** The end of what was given, of so many microseconds; the first frame is what is left of one that was begun. */
function unplayedOf(given: readonly Given[], leftUs: number): Given[] {
  const unplayed: Given[] = [];
  let left = leftUs;
  for (const frame of given.toReversed()) {
    if (left <= 0 && frame.durationUs > 0) break;
    const us = Math.min(left, frame.durationUs);
    left -= us;
    const fromUs = frame.fromUs + frame.durationUs - us;
    const samples = Math.round((us * ROOM_RATE_HZ.agent) / 1e6);
    const bytes = frame.bytes.subarray(frame.bytes.byteLength - 2 * samples);
    unplayed.unshift({ ...frame, fromUs, durationUs: us, bytes });
  }
  return unplayed;
}
