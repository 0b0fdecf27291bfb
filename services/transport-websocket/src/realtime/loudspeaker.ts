/**
 * The client's loudspeaker as far as anyone here knows of it: the clock bounds what was heard, and the client's own
 * `conversation.item.truncate` says it exactly (F-039, F-086). Reports both to the line; answers its flushes.
 */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { AgentLine, Fence, Flush } from "@rspp/transport/agent-line";
import { limits as shared } from "@rspp/transport/limits";
import type { Send } from "./answers.ts";
import type { Item, Items } from "./items.ts";
import { realtimeLimits as limits } from "./limits.ts";
import { type Output, Playback } from "./playback.ts";

interface Pending {
  readonly flush: Flush;
  readonly item: Item;
  readonly output: Output;
  /** Media time that can have been heard when the fence came, microseconds. */
  readonly playedUs: number;
  readonly cut: number;
  readonly timer: TimerHandle;
}

export interface LoudspeakerOptions {
  readonly clock: Pick<Clock, "nowNs" | "timerAt">;
  readonly agent: AgentLine;
  readonly items: Items;
  readonly send: Send;
}

export class Loudspeaker {
  readonly #options: LoudspeakerOptions;
  readonly #playback = new Playback();
  readonly #timers = new Map<Output, TimerHandle>();
  #pending: Pending[] = [];
  /** What a client has said it played of an item that no fence has reached yet. */
  #said: { item: Item; playedUs: number } | null = null;

  constructor(options: LoudspeakerOptions) {
    this.#options = options;
  }

  /** A frame has gone out. */
  sent(turn: number, generation: number, untilUs: number, durationUs: number, end: boolean): void {
    const { clock, agent } = this.#options;
    const nowNs = clock.nowNs();
    agent.written(turn, generation, untilUs);
    const output = this.#playback.sent(turn, generation, untilUs, durationUs, nowNs);
    if (output.reportedNs < 0 || nowNs - output.reportedNs > msToNs(limits.PLAYED_EVERY_MS)) {
      output.reportedNs = nowNs;
      agent.played({ turn, generation, state: "playing", playedUs: this.#playback.playedUs(output, nowNs) });
    }
    if (!end) return;
    output.ended = true;
    this.#timers.set(
      output,
      clock.timerAt(asMonoNs(Math.max(nowNs, output.outNs)), () => this.#completed(output)),
    );
  }

  /** When all that was sent will have been played. */
  outNs(): number {
    return this.#playback.outNs();
  }

  /** What will have been played by now is reported so. */
  settleDue(): void {
    const nowNs = this.#options.clock.nowNs();
    for (const output of this.#playback.outputs().filter((one) => one.ended && one.outNs <= nowNs))
      this.#completed(output);
  }

  flush(fence: Fence, flush: Flush, cut: number): void {
    const { clock, agent, items } = this.#options;
    const nowNs = clock.nowNs();
    const output = this.#playback.below(fence.turn, fence.generation);
    const item = items.spoken(fence.turn, fence.generation);
    const playedUs = output === undefined ? 0 : this.#playback.playedUs(output, nowNs);
    // Earlier turns settle by what was last known of them.
    for (const one of this.#playback.outputs().filter((one) => one.turn < fence.turn && fence.all)) this.#forget(one);
    this.#playback.emptied(nowNs);
    if (output === undefined) return void agent.flushed(flush, 0, cut);
    this.#forget(output);
    const { untilUs } = output;
    if (item === undefined || item.heardMs !== null)
      return void agent.flushed(flush, playedUs, cut + framesOf(untilUs - playedUs));
    const at = asMonoNs(nowNs + msToNs(limits.TRUNCATE_WAIT_MS));
    const timer = clock.timerAt(at, () => this.#settle(pending, pending.playedUs));
    const pending: Pending = { flush, item, output, playedUs, cut, timer };
    this.#pending.push(pending);
    const said = this.#said;
    this.#said = null;
    if (said?.item === item) this.#settle(pending, said.playedUs);
  }

  /**
   * The client has stopped playing the item there; no more than the clock allows is believed. "cancel": the turn is still
   * being heard as far as the runtime knows, and is to be cut.
   */
  truncated(item: Item, audioEndMs: number): "cancel" | "settled" {
    const { clock } = this.#options;
    const playedUs = audioEndMs * 1_000;
    const pending = this.#pending.find((one) => one.item === item);
    if (pending !== undefined) {
      this.#settle(pending, Math.min(playedUs, pending.playedUs + limits.PLAYED_AHEAD_MS * 1_000));
      return "settled";
    }
    const output = this.#playback.find(item.turn, item.generation);
    if (item.heardMs === null && output !== undefined) {
      const mostUs = this.#playback.playedUs(output, clock.nowNs()) + limits.PLAYED_AHEAD_MS * 1_000;
      this.#said = { item, playedUs: Math.min(playedUs, mostUs) };
      return "cancel";
    }
    // It counts as heard already: that is told instead of what cannot be taken back.
    this.#tell(item, item.heardMs ?? Math.floor(item.sentUs / 1_000));
    return "settled";
  }

  /** The connection has gone: nobody says any more. */
  away(): void {
    for (const pending of [...this.#pending]) this.#settle(pending, pending.playedUs);
    const nowNs = this.#options.clock.nowNs();
    for (const output of this.#playback.outputs()) {
      const { turn, generation } = output;
      this.#options.agent.played({
        turn,
        generation,
        state: "playing",
        playedUs: this.#playback.playedUs(output, nowNs),
      });
    }
    this.close();
  }

  close(): void {
    for (const { timer } of this.#pending) timer.clear();
    for (const timer of this.#timers.values()) timer.clear();
    this.#pending = [];
    this.#timers.clear();
  }

  #completed(output: Output): void {
    const { turn, generation, untilUs } = output;
    this.#forget(output);
    const item = this.#options.items.spoken(turn, generation + 1);
    if (item !== undefined) item.heardMs ??= Math.floor(item.sentUs / 1_000);
    this.#options.agent.played({ turn, generation, state: "completed", playedUs: untilUs });
  }

  #settle(pending: Pending, playedUs: number): void {
    const at = this.#pending.indexOf(pending);
    if (at < 0) return;
    this.#pending.splice(at, 1);
    pending.timer.clear();
    const { item, flush, output, cut } = pending;
    const heardUs = Math.min(playedUs, output.untilUs);
    item.heardMs = Math.floor(heardUs / 1_000);
    item.status = "incomplete";
    // Which words those were is the runtime's to know.
    item.transcript = null;
    this.#options.agent.flushed(flush, heardUs, cut + framesOf(output.untilUs - heardUs));
    this.#tell(item, item.heardMs);
  }

  #tell(item: Item, audioEndMs: number): void {
    const head = { type: "conversation.item.truncated", item_id: item.id } as const;
    this.#options.send({ ...head, content_index: 0, audio_end_ms: audioEndMs });
  }

  #forget(output: Output): void {
    this.#timers.get(output)?.clear();
    this.#timers.delete(output);
    this.#playback.forget(output);
  }
}

function framesOf(us: number): number {
  return Math.round(us / (shared.FRAME_MS * 1_000));
}
