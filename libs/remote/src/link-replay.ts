/**
 * What the runtime has said to a caller and the adapter has not acted on yet, kept for the pair that takes the place of one
 * that died (libs/protocol reattach, F-158). Bounded there: past it a session that loses its pair ends.
 */
import { type MonoNs, msToNs } from "@rspp/base/brand";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { LaneMarks } from "@rspp/protocol/link-types";
import {
  createReattachServer,
  reattachDetached,
  reattachRequest,
  reattachTurn,
  replayAcked,
  replayFence,
  replayRecord,
} from "@rspp/protocol/reattach-server";
import type { ReattachServerState } from "@rspp/protocol/reattach-types";
import type { Outgoing } from "./link-egress.ts";

/** A message and where the present binding put it: 0 not sent yet, -1 not to be sent. */
export interface Kept {
  readonly message: Outgoing | Extract<SessionNote, { kind: "error" }>;
  /** Names it among events that are no media. */
  readonly number: number;
  linkSeq: number;
}

/** Messages, or nanoseconds, between two looks at what the adapter has acted on. */
const TRIM_EVERY = 32;
const TRIM_EVERY_NS = msToNs(1_000);
const nothing: Readonly<LaneMarks> = Object.freeze({ control: 0, data: 0, telemetry: 0 });

export class Replay {
  readonly #state: ReattachServerState<Kept>;
  #numbers = 0;
  #sinceTrim = 0;
  #trimmedAtNs = 0;
  /** Sequences of the session that are known to have been acted on. */
  #acted: LaneMarks = { ...nothing };

  constructor(session: string, token: string) {
    this.#state = createReattachServer<Kept>(session, token);
  }

  get openTurn(): number {
    return this.#state.openTurn ?? 0;
  }

  /** Keeps a message; to be sent now if it can be. `acted`: what the present binding's peer has acted on. */
  record(message: Kept["message"], now: MonoNs, acted: Readonly<LaneMarks> = nothing): Kept {
    this.#trim(acted, now);
    const kept: Kept = { message, number: message.kind === "media" ? 0 : ++this.#numbers, linkSeq: 0 };
    const media = message.kind === "media";
    if (message.kind === "fence") {
      const { turn, generation, all } = message;
      replayFence(this.#state, { turn, generation, olderTurns: all });
    } else if (message.kind === "control") {
      if (message.signal === "turn_open") reattachTurn(this.#state, message.turn);
      if (message.signal === "close") reattachTurn(this.#state, null);
    }
    const turn = media && message.turn > 0 ? message.turn : null;
    const generation = media ? message.generation : 0;
    const bytes = media ? message.bytes.byteLength + 64 : 256;
    replayRecord(this.#state, { lane: media ? "data" : "control", turn, generation, bytes, payload: kept }, now);
    return kept;
  }

  /** Forgets what was acted on, now and then, and before its age could be taken for a loss. */
  #trim(acted: Readonly<LaneMarks>, now: MonoNs): void {
    if (++this.#sinceTrim < TRIM_EVERY && now - this.#trimmedAtNs < TRIM_EVERY_NS) return;
    this.#sinceTrim = 0;
    this.#trimmedAtNs = now;
    this.#forget(acted);
  }

  #forget(acted: Readonly<LaneMarks>): void {
    const marks = this.#marks(acted);
    this.#acted = {
      control: Math.max(this.#acted.control, marks.control),
      data: Math.max(this.#acted.data, marks.data),
      telemetry: 0,
    };
    replayAcked(this.#state, marks);
  }

  /** The binding is gone; `acked` is what its peer had acted on. */
  detached(acked: Readonly<LaneMarks>, now: MonoNs): void {
    this.#forget(acked);
    for (const { payload } of this.#state.entries) if (payload.linkSeq > 0) payload.linkSeq = 0;
    reattachDetached(this.#state, this.#state.attachment, now);
  }

  /** What a new binding is to be sent, in order; null when more was missed than is kept. */
  attach(token: string, openTurn: number, now: MonoNs): { entries: Kept[]; turnContinues: boolean } | null {
    const state = this.#state;
    const answer = reattachRequest(
      state,
      {
        session: state.session,
        tokenRef: token,
        attempt: state.lastAttempt + 1,
        lastReceived: this.#received(),
        openTurn: openTurn === 0 ? null : openTurn,
      },
      now,
    );
    if (answer.kind !== "resume") return null;
    return { entries: answer.events.map((entry) => entry.payload), turnContinues: answer.turn === "same" };
  }

  /** All that waits, for the first binding. */
  waiting(): Kept[] {
    return this.#state.entries.map((entry) => entry.payload).filter((kept) => kept.linkSeq === 0);
  }

  /** Sequences of the session up to which all of a lane was acted on; what is later is told again, the adapter knows repeats. */
  #marks(acked: Readonly<LaneMarks>): LaneMarks {
    const marks = { control: 0, data: 0, telemetry: 0 };
    const settled = { control: true, data: true };
    for (const { lane, seq, payload } of this.#state.entries) {
      const done = payload.linkSeq < 0 || (payload.linkSeq > 0 && payload.linkSeq <= acked[lane]);
      if (!done) settled[lane] = false;
      else if (settled[lane]) marks[lane] = seq;
    }
    return marks;
  }

  /** Up to what each lane needs not be said again; below what was lost, where something was. */
  #received(): LaneMarks {
    const { entries, last, lost } = this.#state;
    const before = (lane: "control" | "data"): number =>
      lost[lane] > this.#acted[lane]
        ? this.#acted[lane]
        : (entries.find((e) => e.lane === lane)?.seq ?? last[lane] + 1) - 1;
    return { control: before("control"), data: before("data"), telemetry: last.telemetry };
  }
}
