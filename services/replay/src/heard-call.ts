/**
 * What the two ends of a recorded call heard of one another: the caller's audio by its media time, the agent's by what
 * left through the fence and by the transport's reports of what was played when. Needs payloads, so a recording at L2.
 */
import type { Effect } from "@rspp/kernel/effect";
import type { Batch } from "@rspp/kernel/input";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { type Recording, reExecute, type SessionReplay, spanText, textsOf } from "./re-execute.ts";

/** Samples of one side, at their place on the call's axis: from the first sample of the caller's audio. */
export interface Piece {
  /** May be negative: what was heard before the caller's audio began. */
  readonly start: number;
  readonly samples: Int16Array;
}

export interface HeardTurn {
  readonly turn: number;
  readonly caller: string;
  /** All of the reply, and what of it was heard. */
  readonly said: string;
  readonly heard: string;
  /** commit, or abort(reason). */
  readonly terminal: string;
  readonly cut: boolean;
  /** Milliseconds on the call's axis; null where nothing was heard. */
  readonly fromMs: number | null;
  readonly toMs: number | null;
}

export interface HeardCall {
  readonly sessionId: string;
  /** Rate of both sides, where they have one of their own. */
  readonly caller: { readonly rateHz: number; readonly pieces: readonly Piece[] };
  readonly agent: { readonly rateHz: number; readonly pieces: readonly Piece[] };
  readonly turns: readonly HeardTurn[];
  /** Of the whole call, to its last record. */
  readonly durationMs: number;
  /** Frames whose payload is not in the recording, e.g. erased or lowered to L1 meanwhile. */
  readonly framesMissing: number;
  readonly replay: SessionReplay;
}

const RATE_HZ = 16_000;
const NS_PER_S = 1_000_000_000;
/** Reports of delivery that are later than the audio by more than this tell of a pause, not of a slow line. */
const PAUSE_NS = 60_000_000;
const PAUSES: readonly string[] = ["reconnecting", "output_hold"];
const RESUMES: readonly string[] = ["connected", "output_resume"];

export interface Report {
  readonly atNs: number;
  readonly playedUs: number;
}

interface Reply {
  readonly turn: number;
  readonly frames: { readonly offsetUs: number; readonly samples: Int16Array }[];
  readonly reports: Report[];
  rateHz: number;
  cut: boolean;
}

/** Nothing was played. */
export interface Pause {
  readonly fromNs: number;
  readonly toNs: number;
}

interface CallerFrame {
  readonly mediaUs: number;
  readonly arrivedNs: number;
  readonly durationUs: number;
  readonly rateHz: number;
  readonly samples: Int16Array;
}

/** Throws where the recording cannot be re-executed by this build; its damage is told in `replay.problems`. */
export function heardCall(
  sessionId: string,
  config: SessionConfig,
  recording: Recording,
  problems: string[],
): HeardCall {
  const gathered = new Gathered(recording);
  const replay = reExecute(sessionId, config, recording, problems, { onStep: gathered.step });
  const { frames, replies, spans } = gathered;
  const first = frames[0];
  // The frame that was least delayed tells when the caller's audio began.
  const originNs =
    first === undefined
      ? gathered.firstNs
      : frames.reduce(
          (least, { arrivedNs, mediaUs, durationUs }) => Math.min(least, arrivedNs - (mediaUs + durationUs) * 1_000),
          first.arrivedNs,
        );
  const agentRate = [...replies.values()].find(({ rateHz }) => rateHz > 0)?.rateHz ?? RATE_HZ;
  const callerRate = first?.rateHz ?? RATE_HZ;
  const pieces = new Map<Reply, Piece[]>(
    [...replies.values()].map((reply) => [reply, placed(reply, gathered.pauses, originNs, agentRate)]),
  );
  const texts = textsOf(recording);
  const turns = replay.turns.map(({ turn, user, heard, terminal }): HeardTurn => {
    const mine = [...replies.values()].filter((reply) => reply.turn === turn);
    const own = mine.flatMap((reply) => pieces.get(reply) ?? []);
    const ms = (sample: number): number => Math.round((sample * 1_000_000) / agentRate) / 1_000;
    return {
      turn,
      caller: plain(user),
      said: plain(spanText(texts, spans.get(turn) ?? [])),
      heard: plain(heard),
      terminal,
      cut: mine.some(({ cut }) => cut),
      fromMs: own.length === 0 ? null : ms(Math.min(...own.map(({ start }) => start))),
      toMs: own.length === 0 ? null : ms(Math.max(...own.map(({ start, samples }) => start + samples.length))),
    };
  });
  return {
    sessionId,
    caller: {
      rateHz: callerRate,
      pieces: frames.map(({ mediaUs, samples }) => ({ start: samplesOf(mediaUs, callerRate), samples })),
    },
    agent: { rateHz: agentRate, pieces: [...pieces.values()].flat() },
    turns,
    durationMs: Math.max(0, Math.round((gathered.lastNs - originNs) / 1_000) / 1_000),
    framesMissing: gathered.missing,
    replay,
  };
}

const plain = (text: string): string => text.replace(/\s+/g, " ").trim();

/** The fewest samples that last so long: media times are rounded down to microseconds. */
const samplesOf = (us: number, rateHz: number): number => Math.ceil((us * rateHz) / 1_000_000);

class Gathered {
  readonly frames: CallerFrame[] = [];
  readonly replies = new Map<string, Reply>();
  readonly spans = new Map<number, { ref: number; from: number; to: number }[]>();
  readonly pauses: Pause[] = [];
  missing = 0;
  firstNs = 0;
  lastNs = 0;
  readonly #payloads: Recording["payloads"];
  #any = false;
  #pausedNs = Number.NaN;

  constructor({ payloads }: Recording) {
    this.#payloads = payloads;
  }

  readonly step = ({ monoNs, inputs }: Batch, effects: readonly Effect[]): void => {
    if (!this.#any) this.firstNs = monoNs;
    this.#any = true;
    this.lastNs = monoNs;
    for (const { monoNs: atNs, body } of inputs) {
      if (body.type === "audio") {
        const { mediaUs, durationUs, format, payload } = body;
        const samples = this.#samples(payload.ref);
        if (samples !== null)
          this.frames.push({ mediaUs, durationUs, arrivedNs: atNs, rateHz: format.rateHz, samples });
      } else if (body.type === "delivery" || body.type === "fence_ack") {
        const cancelled = body.type === "fence_ack" || body.state === "cancelled";
        this.#report(body.turn, body.generation, { atNs, playedUs: body.playedUs }, cancelled);
      }
    }
    for (const effect of effects) this.#effect(effect);
  };

  #pause(signal: string, atNs: number): void {
    if (PAUSES.includes(signal)) this.#pausedNs = atNs;
    if (!RESUMES.includes(signal) || Number.isNaN(this.#pausedNs)) return;
    this.pauses.push({ fromNs: this.#pausedNs, toNs: atNs });
    this.#pausedNs = Number.NaN;
  }

  #effect(effect: Effect): void {
    if (effect.type === "signal") this.#pause(effect.event.signal, effect.event.monoNs);
    if (effect.type === "egress_text" && effect.role === "assistant") {
      const known = this.spans.get(effect.turn) ?? [];
      this.spans.set(effect.turn, [...known, ...effect.spans]);
    }
    if (effect.type !== "egress_media" || effect.payload === null) return;
    const reply = this.#reply(effect.turn, effect.generation);
    const samples = this.#samples(effect.payload.ref);
    if (samples === null) return;
    reply.rateHz ||= effect.format?.rateHz ?? RATE_HZ;
    reply.frames.push({ offsetUs: effect.offsetUs, samples });
  }

  /** A fence names the generation after the one it cuts; what it says was played is that one's. */
  #report(turn: number, generation: number, report: Report, cut: boolean): void {
    const named = this.replies.get(`${turn}.${generation}`);
    const reply = named ?? [...this.replies.values()].findLast((one) => one.turn === turn);
    if (reply === undefined) return;
    reply.reports.push(report);
    reply.cut ||= cut;
  }

  #reply(turn: number, generation: number): Reply {
    const key = `${turn}.${generation}`;
    const known = this.replies.get(key);
    if (known !== undefined) return known;
    const made: Reply = { turn, frames: [], reports: [], rateHz: 0, cut: false };
    this.replies.set(key, made);
    return made;
  }

  #samples(ref: number): Int16Array | null {
    const base64 = this.#payloads.get(ref)?.base64;
    if (base64 === undefined) {
      this.missing += 1;
      return null;
    }
    const bytes = Buffer.from(base64, "base64");
    return Int16Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readInt16LE(i * 2));
  }
}

/** A stretch of a reply that was heard without a pause. */
export interface Stretch {
  readonly fromUs: number;
  toUs: number;
  /** When its first sample would have been heard by the report that was least delayed. */
  startNs: number;
}

/**
 * Reports say how much was heard by when. Between two of them the sound may have stood still: from the instant at which the
 * connection faltered or a hold was sent, where that is recorded, else before the later report.
 */
export function stretchesOf(reports: readonly Report[], pauses: readonly Pause[]): Stretch[] {
  const stretches: Stretch[] = [];
  let before: Report | undefined;
  for (const report of reports) {
    const last = before ?? report;
    const pause = pauses.find(({ fromNs, toNs }) => fromNs >= last.atNs && toNs <= report.atNs);
    if (pause !== undefined && before !== undefined) {
      const current = stretches.at(-1);
      const startNs = current?.startNs ?? before.atNs;
      const playedUs = (current?.fromUs ?? 0) + Math.floor((pause.fromNs - startNs) / 1_000);
      const until = { atNs: pause.fromNs, playedUs: Math.min(report.playedUs, Math.max(before.playedUs, playedUs)) };
      goOn(stretches, before, until);
      before = { ...until, atNs: pause.toNs };
      if (report.playedUs > before.playedUs) stretches.push(stretchOf(before.playedUs, report));
    } else goOn(stretches, last, report);
    before = { atNs: report.atNs, playedUs: Math.max(report.playedUs, before?.playedUs ?? 0) };
  }
  return stretches;
}

function stretchOf(fromUs: number, { atNs, playedUs }: Report): Stretch {
  return { fromUs, toUs: playedUs, startNs: atNs - (playedUs - fromUs) * 1_000 };
}

function goOn(stretches: Stretch[], before: Report, report: Report): void {
  if (report.playedUs <= before.playedUs && stretches.length > 0) return;
  const made = stretchOf(stretches.length === 0 ? 0 : before.playedUs, report);
  if (made.toUs === made.fromUs) return;
  const current = stretches.at(-1);
  if (current === undefined || made.startNs - before.atNs > PAUSE_NS) stretches.push(made);
  else {
    current.toUs = made.toUs;
    current.startNs = Math.min(current.startNs, report.atNs - (made.toUs - current.fromUs) * 1_000);
  }
}

function placed(reply: Reply, pauses: readonly Pause[], originNs: number, rateHz: number): Piece[] {
  const pieces: Piece[] = [];
  for (const { fromUs, toUs, startNs } of stretchesOf(reply.reports, pauses)) {
    const at = Math.round(((startNs - originNs) * rateHz) / NS_PER_S);
    const from = samplesOf(fromUs, rateHz);
    const to = samplesOf(toUs, rateHz);
    for (const { offsetUs, samples } of reply.frames) {
      const offset = samplesOf(offsetUs, rateHz);
      const begin = Math.max(from, offset);
      const end = Math.min(to, offset + samples.length);
      if (end > begin)
        pieces.push({ start: at + begin - from, samples: samples.subarray(begin - offset, end - offset) });
    }
  }
  return pieces;
}

/** One side as samples, silence where there is none; what lies before the start or past `length` is left out. */
export function track(pieces: readonly Piece[], length: number): Int16Array {
  const out = new Int16Array(length);
  for (const { start, samples } of pieces) {
    const skip = Math.max(0, -start);
    const room = length - Math.max(0, start);
    if (skip >= samples.length || room <= 0) continue;
    out.set(samples.subarray(skip, Math.min(samples.length, skip + room)), Math.max(0, start));
  }
  return out;
}
