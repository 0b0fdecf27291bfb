import type { TraceEvent } from "../trace.ts";
import type { Voice } from "../voices.ts";
import { BaseChecker } from "./checker.ts";

/** An adapter may round what it played by a frame. */
const roundingUs = 20_000;
/** No history is so short that it would not hold these: turns of the session, spoken in or not, since a history counts them all. */
const recentTurns = 4;

interface Piece {
  offsetUs: number;
  endUs: number;
  voice: Voice;
}

interface Reply {
  turn: number;
  life: string;
  /** By segment: what the voice was told to say. */
  clauses: Map<number, string>;
  pieces: Piece[];
  /** Audio was lost on its way, or is not known again: how much of which clause was heard cannot be told from here. */
  unsure: boolean;
  /** How far the loudspeaker came, in the turn's own media time. */
  playedUs: number;
  /** By segment: what the caller was shown. */
  shown: Map<number, string>;
  /** Its voice was gone (F-137): what was shown counts as told. */
  textual: boolean;
  /** Delivery is settled and told: heard wholly, by word timings. */
  whole: boolean;
}

/**
 * The conversation that a model is asked with holds the words of each reply that were really played, no more and, where
 * a reply was played to its end, no less (`kernel.md` §6; F-039). Computed from the audio at the loudspeaker.
 */
export class HeardChecker extends BaseChecker {
  readonly name = "heard";
  /** Contexts that were compared, and replies in them. */
  compared = 0;
  readonly #replies = new Map<string, Reply>();
  /** By turn, the reply whose audio the device took last: two who both believe that they hold the session may count alike. */
  readonly #playing = new Map<number, Reply>();
  readonly #voiceless = new Set<string>();
  /** By life, the turn that was opened last. */
  readonly #opened = new Map<string, number>();

  see(event: TraceEvent): void {
    switch (event.kind) {
      case "spoken":
        if (event.turn > 0) this.#reply(event.turn, event.life).clauses.set(event.segment, event.text);
        return;
      case "media_in":
        return this.#media(event);
      case "played":
        return this.#played(event.turn, event.toUs);
      case "record":
        return this.#settled(event);
      case "signal":
        if (event.event.signal === "turn_open") this.#opened.set(event.life, event.event.turn);
        this.#voice(event.life, event.event);
        if (event.event.signal === "drop_notice") this.#unsure(this.#replies.get(`${event.life}#${event.event.turn}`));
        return;
      case "link_gap":
        // Whose end was lost is not known: of all that was under way.
        if (event.at === "adapter") for (const reply of this.#playing.values()) if (!reply.whole) this.#unsure(reply);
        return;
      case "egress":
        if (event.message.kind === "text" && event.message.role === "assistant")
          this.#reply(event.message.turn, event.life).shown.set(event.message.segment, event.message.text);
        return;
      case "asked":
        return this.#asked(event.life, event.turn, event.messages);
      default:
        return;
    }
  }

  #reply(turn: number, life: string): Reply {
    const key = `${life}#${turn}`;
    const known = this.#replies.get(key);
    if (known !== undefined) return known;
    const made = {
      turn,
      life,
      clauses: new Map(),
      pieces: [],
      unsure: false,
      playedUs: 0,
      whole: false,
      shown: new Map(),
      textual: this.#voiceless.has(life),
    };
    this.#replies.set(key, made);
    return made;
  }

  /** A session without its voice says so once: its turns are textual until it says that it is back. */
  #voice(life: string, { signal, reason, fields }: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    if (signal === "recovered" && fields.capability === "voice") this.#voiceless.delete(life);
    if (signal !== "degraded" || reason !== "text_only") return;
    this.#voiceless.add(life);
    const turn = this.#opened.get(life);
    if (turn !== undefined) this.#reply(turn, life).textual = true;
  }

  #unsure(reply: Reply | undefined): void {
    if (reply !== undefined) reply.unsure = true;
  }

  #media({ turn, offsetUs, durationUs, voice }: Extract<TraceEvent, { kind: "media_in" }>): void {
    if (durationUs === 0) return;
    // Spoilt, or out of a foreign node: whose it is cannot be told, but of which turn.
    if (voice === null) {
      for (const reply of this.#replies.values()) if (reply.turn === turn) reply.unsure = true;
      return;
    }
    const reply = this.#reply(turn, voice.life);
    this.#playing.set(turn, reply);
    if (offsetUs !== (reply.pieces.at(-1)?.endUs ?? 0)) reply.unsure = true;
    reply.pieces.push({ offsetUs, endUs: offsetUs + durationUs, voice });
  }

  #played(turn: number, toUs: number): void {
    const reply = this.#playing.get(turn);
    if (reply !== undefined) reply.playedUs = Math.max(reply.playedUs, toUs);
  }

  #settled({ life, record, appended }: Extract<TraceEvent, { kind: "record" }>): void {
    if (!appended || record.kind !== "delivery_addendum") return;
    const reply = this.#replies.get(`${life}#${record.turn}`);
    const { outcome, heardBy } = record.addendum as { outcome: string; heardBy: string };
    if (reply !== undefined) reply.whole = outcome === "completed" && heardBy === "word_timings";
  }

  #asked(life: string, turn: number, messages: Extract<TraceEvent, { kind: "asked" }>["messages"]): void {
    // What was said in an answer that calls tools is of this turn, and not heard yet.
    const replies = messages.filter(({ role, toolCalls }) => role === "assistant" && toolCalls === undefined);
    const told = replies.map(({ text }) => plain(text));
    if (told.length === 0) return;
    const before = [...this.#replies.values()].filter((of) => of.life === life && (turn === 0 || of.turn < turn));
    this.compared += 1;
    for (const text of told) {
      const fits = before.some((reply) => reply.unsure || mayHaveHeard(reply, text));
      if (!fits) this.fail(`${life}#${turn}: the model is told of "${text}", which nobody heard`);
    }
    // A history that is full has let go of older ones.
    const latest = (this.#opened.get(life) ?? turn) - recentTurns;
    const full = before.filter((of) => of.turn > latest && of.whole && !of.unsure && played(of));
    for (const reply of full) {
      const text = plain(allOf(reply));
      if (text !== "" && !told.includes(text))
        this.fail(`${life}#${turn}: the model is not told of reply ${reply.turn}, "${text}"`);
    }
  }
}

function plain(text: string): string {
  return text.trim().replace(/\s+/g, " ");
}

function inOrder(reply: Reply): [number, string][] {
  return [...reply.clauses].sort(([a], [b]) => a - b);
}

function allOf(reply: Reply): string {
  return inOrder(reply)
    .map(([, text]) => text)
    .join(" ");
}

/** Everything that came was played, and every clause came to its end. */
function played(reply: Reply): boolean {
  const end = reply.pieces.at(-1)?.endUs ?? 0;
  const ended = new Set(reply.pieces.filter(({ voice }) => voice.last).map(({ voice }) => voice.segment));
  return end > 0 && reply.playedUs >= end && [...reply.clauses.keys()].every((segment) => ended.has(segment));
}

/** No more than can have been heard; of a reply that goes on as text from some clause on, some of the one, then the other. */
function mayHaveHeard(reply: Reply, text: string): boolean {
  if (!reply.textual) return heardBefore(reply, Number.POSITIVE_INFINITY).startsWith(text);
  const shown = [...reply.shown].sort(([a], [b]) => a - b);
  const words = text.split(" ");
  return shown.some(([from], n) => {
    const heard = heardBefore(reply, from);
    const told = plain(
      shown
        .slice(n)
        .map(([, one]) => one)
        .join(" "),
    );
    const split = (at: number): boolean =>
      heard.startsWith(words.slice(0, at).join(" ")) && told.startsWith(words.slice(at).join(" "));
    return words.some((_, at) => split(at)) || split(words.length);
  });
}

/** Clauses and words whose audio came out, a frame's rounding forgiven; of clauses before this one. */
function heardBefore(reply: Reply, before: number): string {
  const heard: string[] = [];
  const playedUs = reply.playedUs + roundingUs;
  for (const [segment, text] of inOrder(reply)) {
    if (segment >= before) break;
    let upToUs = -1;
    let whole = false;
    for (const { offsetUs, voice } of reply.pieces) {
      if (voice.segment !== segment || offsetUs >= playedUs) continue;
      const us = voice.fromUs + Math.min(voice.toUs - voice.fromUs, playedUs - offsetUs);
      upToUs = Math.max(upToUs, us);
      whole ||= voice.last && us >= voice.toUs;
    }
    if (upToUs < 0) continue;
    const words = reply.pieces.find(({ voice }) => voice.segment === segment)?.voice.words ?? [];
    const end = whole ? text.length : Math.max(0, ...words.filter((word) => word.endUs <= upToUs).map(({ to }) => to));
    heard.push(text.slice(0, end));
  }
  return plain(heard.join(" "));
}
