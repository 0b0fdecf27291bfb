/**
 * Writes one session's durable state (kernel.md §8; F-155) after each turn that opens, commits or settles: asynchronously, one
 * write at a time, the newest state only, again until it is taken. What waits too long is marked in the timeline.
 */
import { asMonoNs, type MonoNs, msToNs } from "@rspp/base/brand";
import type { SessionName } from "@rspp/base/session-key";
import type { DurableState } from "@rspp/kernel/durable-state";
import type { Effect } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import { limits } from "../limits.ts";
import { encodeDurable } from "./document.ts";
import type { StatePort } from "./store.ts";

export interface DurableWriterInit {
  readonly session: SessionName;
  /** Version that was read at a takeover; 0 none. */
  readonly version: number;
  /** Audio that was settled then. */
  readonly audioThrough: number;
  readonly store: StatePort;
  readonly clock: Clock;
  /** In force now. */
  epoch(): number;
  /** As it stands between two steps. */
  state(): DurableState;
  text(spans: readonly TextSpan[]): string;
  /** A named point in the timeline. */
  mark(name: string, fields: Readonly<Record<string, number>>): void;
}

const worthWriting: ReadonlySet<string> = new Set(["commit", "abort", "mute", "unmute"]);

export class DurableWriter {
  readonly #init: DurableWriterInit;
  #version: number;
  #audioThrough: number;
  #dirty = false;
  #busy = false;
  #failures = 0;
  #fenced = false;
  #over = false;
  /** Since when a change waits to be written; null: all is written. */
  #waitsSinceNs: MonoNs | null = null;
  #marked = false;
  #timer: TimerHandle | null = null;
  #flushed: ((version: number | null) => void)[] = [];
  #idle: (() => void)[] = [];

  constructor(init: DurableWriterInit) {
    this.#init = init;
    this.#version = init.version;
    this.#audioThrough = init.audioThrough;
    this.#arm(limits.STATE_QUIET_MS);
  }

  /** Version that was taken last; 0 none. */
  get version(): number {
    return this.#version;
  }

  /** Changes that are not written yet. */
  get pending(): boolean {
    return this.#waitsSinceNs !== null;
  }

  /** The effects of a step, once they were carried out. */
  take(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.type === "state_write") return this.#changed();
      if (effect.type === "signal" && worthWriting.has(effect.event.signal)) return this.#changed();
      if (effect.type === "record" && effect.record.kind === "delivery_addendum") return this.#changed();
    }
  }

  /** Settles once everything up to now is written, with its version; null when it could not be, or after `deadlineMs`. */
  flush(deadlineMs: number): Promise<number | null> {
    if (this.#fenced || this.#over) return Promise.resolve(null);
    const { clock } = this.#init;
    return new Promise((resolve) => {
      const timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(deadlineMs)), () => settle(null));
      const settle = (version: number | null): void => {
        timer.clear();
        this.#flushed = this.#flushed.filter((one) => one !== settle);
        resolve(version);
      };
      this.#flushed.push(settle);
      this.#changed();
      this.#now();
    });
  }

  /** The session is over. `keep`: another runtime goes on with it. Settles when nothing is under way any more. */
  async close(keep: boolean): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.clear();
    if (this.pending) this.#init.mark("state_pending", { version: this.#version });
    for (const settle of this.#flushed.splice(0)) settle(null);
    if (this.#busy) await new Promise<void>((resolve) => this.#idle.push(resolve));
    const { store, session } = this.#init;
    if (!keep && !this.#fenced && this.#version > 0) await store.remove(session, this.#init.epoch());
  }

  #changed(): void {
    if (this.#over || this.#fenced) return;
    this.#dirty = true;
    if (this.#waitsSinceNs === null) this.#waitsSinceNs = this.#init.clock.nowNs();
    if (!this.#busy && this.#failures === 0) this.#arm(limits.STATE_COALESCE_MS);
  }

  #arm(ms: number): void {
    const { clock } = this.#init;
    this.#timer?.clear();
    this.#timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(ms)), () => {
      this.#timer = null;
      this.#look();
    });
  }

  #now(): void {
    if (this.#busy) return;
    this.#timer?.clear();
    this.#timer = null;
    this.#look();
  }

  #look(): void {
    if (this.#over || this.#fenced || this.#busy) return;
    const state = this.#init.state();
    // A caller who says nothing for long: what was heard of him needs no second hearing.
    const quiet = state.audioThrough > this.#audioThrough && state.replies.length === 0;
    if (this.#dirty || quiet) void this.#write(state);
    else this.#arm(limits.STATE_QUIET_MS);
  }

  async #write(state: DurableState): Promise<void> {
    const { store, session, epoch, clock, text } = this.#init;
    this.#busy = true;
    this.#dirty = false;
    const flushed = this.#flushed;
    const audioThrough = Math.max(state.audioThrough, this.#audioThrough);
    const bytes = encodeDurable({ ...state, audioThrough }, clock.wallMs(), text);
    const done = await store.write({ session, epoch: epoch(), expected: this.#version, bytes });
    this.#busy = false;
    if (done.kind === "written") this.#taken(done.version, audioThrough, flushed);
    else if (done.kind === "fenced") this.#fence();
    else await this.#failed(done.kind);
    for (const resolve of this.#idle.splice(0)) resolve();
    if (this.#over || this.#fenced || this.#busy) return;
    if (this.#failures > 0)
      this.#arm(Math.min(limits.STATE_RETRY_MS * 2 ** (this.#failures - 1), limits.STATE_RETRY_MS_MAX));
    else this.#arm(this.#dirty ? limits.STATE_COALESCE_MS : limits.STATE_QUIET_MS);
  }

  #taken(version: number, audioThrough: number, flushed: readonly ((version: number) => void)[]): void {
    this.#version = version;
    this.#audioThrough = audioThrough;
    this.#failures = 0;
    if (this.#marked) this.#init.mark("state_written", { version });
    this.#marked = false;
    this.#waitsSinceNs = this.#dirty ? this.#init.clock.nowNs() : null;
    if (!this.#dirty) for (const settle of [...flushed]) settle(version);
  }

  #fence(): void {
    this.#fenced = true;
    this.#waitsSinceNs = null;
    for (const settle of this.#flushed.splice(0)) settle(null);
  }

  async #failed(kind: "conflict" | "failed"): Promise<void> {
    const { store, session, epoch, clock, mark } = this.#init;
    this.#failures += 1;
    this.#dirty = true;
    const waits = this.#waitsSinceNs ?? clock.nowNs();
    this.#waitsSinceNs = waits;
    if (!this.#marked && clock.nowNs() - waits >= msToNs(limits.STATE_PENDING_TOLD_MS)) {
      this.#marked = true;
      mark("state_pending", { version: this.#version });
    }
    if (kind === "failed") return;
    // A write whose answer was lost stands there, or a predecessor's that came in between.
    const found = await store.read(session, limits.STATE_WRITE_MS_MAX);
    if (found.kind === "found" && found.epoch <= epoch()) this.#version = found.version;
  }
}
