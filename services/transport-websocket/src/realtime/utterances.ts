/**
 * What the caller says as items of the protocol. The runtime tells words and turns, not the endpoint: speech has begun with
 * the first words, or with the interruption; it has stopped when its turn opens, or when the client commits (F-042, F-084).
 * Pure.
 */
import type { Send } from "./answers.ts";
import { type Item, type Items, itemObject } from "./items.ts";
import { realtimeLimits as limits } from "./limits.ts";

interface Utterance {
  /** The runtime's number of it; -1 where it is not known yet. */
  number: number;
  readonly id: string;
  readonly manual: boolean;
  started: boolean;
  /** The item, once it is in the conversation. */
  item: Item | null;
  readonly finals: string[];
}

export class Utterances {
  readonly #items: Items;
  readonly #send: Send;
  /** Media time of the caller's audio so far, milliseconds. */
  readonly #inputMs: () => number;
  /** Ended or not, in order; those before the last are over. */
  #open: Utterance[] = [];

  constructor(items: Items, send: Send, inputMs: () => number) {
    this.#items = items;
    this.#send = send;
    this.#inputMs = inputMs;
  }

  /** Words of the caller. `audible`: the agent is being heard, and nothing is an interruption yet. */
  words(number: number, text: string, final: boolean, audible: boolean): void {
    const known = this.#open.find((one) => one.number === number);
    const utterance = known ?? this.#adopt(number);
    if (!audible) this.#start(utterance);
    if (!final || text.trim() === "") return;
    const delta = utterance.finals.length === 0 ? text.trim() : ` ${text.trim()}`;
    const chars = utterance.finals.reduce((sum, part) => sum + part.length, 0);
    if (chars + delta.length <= limits.TRANSCRIPT_CHARS_MAX) utterance.finals.push(delta);
  }

  /** The caller has interrupted the agent. */
  interrupted(): void {
    const last = this.#open.at(-1);
    this.#start(last !== undefined && last.item === null ? last : this.#make(-1, false));
  }

  /** The client says that what it has appended is to be answered. */
  commit(manual: boolean): void {
    const last = this.#open.at(-1);
    const utterance = last !== undefined && last.item === null ? last : this.#make(-1, manual);
    this.#commit(utterance);
  }

  /** A turn answers what was said, unless nothing was: then the agent speaks by itself. */
  turnOpened(): void {
    const last = this.#open.findLastIndex(({ finals }) => finals.length > 0);
    for (const utterance of this.#open.splice(0, last + 1)) this.#complete(utterance);
  }

  /** What was committed came to nothing: no word was found in it. */
  nothingHeard(): void {
    const nothing = (one: Utterance): boolean => one.item !== null && one.finals.length === 0;
    const message = "No speech was found in the audio; check its format and its level, and speak again.";
    const error = { type: "invalid_request_error", code: "no_speech_found", message };
    for (const { id } of this.#open.filter(nothing)) {
      const head = { type: "conversation.item.input_audio_transcription.failed", item_id: id } as const;
      this.#send({ ...head, content_index: 0, error });
    }
    this.#open = this.#open.filter((one) => !nothing(one));
  }

  #adopt(number: number): Utterance {
    // What was committed, or has interrupted, before its words came.
    const waiting = this.#open.find((one) => one.number === -1);
    if (waiting === undefined) return this.#make(number, false);
    waiting.number = number;
    return waiting;
  }

  #make(number: number, manual: boolean): Utterance {
    const made: Utterance = { number, id: this.#items.id(), manual, started: false, item: null, finals: [] };
    this.#open.push(made);
    if (this.#open.length > limits.UTTERANCES_MAX) this.#open.shift();
    return made;
  }

  #start(utterance: Utterance): void {
    if (utterance.started || utterance.manual || utterance.item !== null) return;
    // Of one that came to nothing no turn tells.
    for (const other of this.#open) if (other !== utterance && other.started && other.item === null) this.#stop(other);
    utterance.started = true;
    const head = { type: "input_audio_buffer.speech_started", item_id: utterance.id } as const;
    this.#send({ ...head, audio_start_ms: Math.max(0, this.#inputMs() - 300) });
  }

  #stop(utterance: Utterance): void {
    utterance.started = false;
    const head = { type: "input_audio_buffer.speech_stopped", item_id: utterance.id } as const;
    this.#send({ ...head, audio_end_ms: this.#inputMs() });
  }

  #commit(utterance: Utterance): Item {
    if (utterance.item !== null) return utterance.item;
    if (utterance.started) this.#stop(utterance);
    const { id } = utterance;
    const own = { sentUs: 0, turn: 0, generation: 0, heardMs: null };
    const item: Item = { id, role: "user", status: "completed", transcript: null, ...own };
    utterance.item = item;
    const previous = this.#items.add(item);
    this.#send({ type: "input_audio_buffer.committed", previous_item_id: previous, item_id: id });
    this.#send({ type: "conversation.item.added", previous_item_id: previous, item: itemObject(item) });
    this.#send({ type: "conversation.item.done", previous_item_id: previous, item: itemObject(item) });
    return item;
  }

  #complete(utterance: Utterance): void {
    const { finals, id } = utterance;
    // Said while the agent spoke, and no interruption: a word of assent.
    if (finals.length === 0 && utterance.item === null && !utterance.started) return;
    this.#start(utterance);
    const item = this.#commit(utterance);
    item.transcript = finals.join("");
    const at = { item_id: id, content_index: 0 };
    for (const delta of finals) this.#send({ type: "conversation.item.input_audio_transcription.delta", ...at, delta });
    const usage = { type: "duration", seconds: 0 };
    const head = { type: "conversation.item.input_audio_transcription.completed", ...at } as const;
    this.#send({ ...head, transcript: item.transcript, usage });
  }
}
