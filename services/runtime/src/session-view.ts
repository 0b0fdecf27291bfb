/** What onlookers are told of a session: its state as its own effects tell it, nothing of its content. */
import type { Effect, SignalEvent, TimelineRecord } from "@rspp/kernel/effect";
import type { SessionConfig } from "@rspp/kernel/session-config";

export type PlanRecord = Extract<TimelineRecord, { kind: "plan" | "session_plan" }>;

export interface SessionView {
  /** connecting, active, draining or ended. */
  readonly phase: string;
  /** The caller is away and may come back. */
  readonly reconnecting: boolean;
  readonly degraded: boolean;
  /** Authority epoch in force. */
  readonly epoch: number;
  /** Milliseconds since 1970 UTC. */
  readonly startedWallMs: number;
  /** Turns so far, those of a predecessor included. */
  readonly turns: number;
  /** 0 none. */
  readonly openTurn: number;
  /** Recording level in force. */
  readonly level: SessionConfig["recording"]["ceiling"];
  /** As recorded last; null before the first. */
  readonly sessionPlan: Extract<PlanRecord, { kind: "session_plan" }> | null;
  /** Of the open or the last turn. */
  readonly turnPlan: Extract<PlanRecord, { kind: "plan" }> | null;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Kept by the session's host from what it carries out. */
export class ViewKeeper {
  readonly view: Mutable<SessionView>;

  constructor(config: SessionConfig, startedWallMs: number) {
    this.view = {
      phase: "connecting",
      reconnecting: false,
      degraded: false,
      epoch: config.authority.epoch,
      startedWallMs,
      turns: config.turnsBefore ?? 0,
      openTurn: 0,
      level: config.recording.ceiling,
      sessionPlan: null,
      turnPlan: null,
    };
  }

  /** The effects of a step, before they are carried out. */
  take(effects: readonly Effect[]): void {
    const { view } = this;
    for (const effect of effects) {
      if (effect.type === "status") {
        view.phase = effect.phase;
        view.reconnecting = effect.reconnecting;
        view.degraded = effect.degraded;
      } else if (effect.type === "signal") this.#signal(effect.event);
      else if (effect.type === "record") this.#record(effect.record);
    }
  }

  #signal({ signal, turn }: SignalEvent): void {
    const { view } = this;
    if (signal === "turn_open") {
      view.turns = Math.max(view.turns, turn);
      view.openTurn = turn;
    } else if (signal === "close" && turn === view.openTurn) view.openTurn = 0;
  }

  #record(record: TimelineRecord): void {
    if (record.kind === "plan") this.view.turnPlan = record;
    else if (record.kind === "session_plan") this.view.sessionPlan = record;
    else if (record.kind === "recording_level") this.view.level = record.to as SessionView["level"];
  }
}
