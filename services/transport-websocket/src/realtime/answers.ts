/**
 * The agent's turns as responses of the protocol: created, spoken, transcribed, done, or cut by a fence (kernel.md §2, §6;
 * F-039, F-084). A turn's output is one response with one item; a turn that begins anew after a fence gets another. Pure.
 */
import type { Json } from "./client-events.ts";
import { type Item, type Items, itemObject } from "./items.ts";
import { realtimeLimits as limits } from "./limits.ts";

export type Send = (event: Json & { readonly type: string }) => void;

interface Answer {
  readonly id: string;
  readonly turn: number;
  generation: number;
  item: Item | null;
  audioEnded: boolean;
  committed: boolean;
  aborted: string | null;
  closed: boolean;
  done: boolean;
}

/** How a response ended. */
interface Ending {
  readonly status: "completed" | "cancelled" | "failed";
  readonly details: Json | null;
}

const COMPLETED: Ending = { status: "completed", details: null };

export class Answers {
  readonly #items: Items;
  readonly #send: Send;
  /** What a response is shown with, e.g. its audio format. */
  readonly #facts: () => Json;
  readonly #answers: Answer[] = [];
  #numbered = 0;

  constructor(items: Items, send: Send, facts: () => Json) {
    this.#items = items;
    this.#send = send;
    this.#facts = facts;
  }

  /** The newest response that is not done. */
  active(): { readonly id: string; readonly turn: number } | null {
    return this.#answers.findLast(({ done }) => !done) ?? null;
  }

  opened(turn: number): void {
    if (this.#of(turn) === undefined) this.#create(turn, 0);
  }

  /** Words that are going to be said. */
  text(turn: number, words: string): void {
    const answer = this.#of(turn) ?? this.#create(turn, 0);
    const item = this.#item(answer);
    const said = item.transcript ?? "";
    const delta = said === "" || /\s$/.test(said) || /^\s/.test(words) ? words : ` ${words}`;
    if (delta === "" || said.length + delta.length > limits.TRANSCRIPT_CHARS_MAX) return;
    item.transcript = said + delta;
    this.#send({ type: "response.output_audio_transcript.delta", ...place(answer, item), delta });
  }

  /** Sound of the turn; `untilUs`: media time of its end. @returns its item. */
  audio(turn: number, generation: number, bytes: Uint8Array, untilUs: number): Item | null {
    const known = this.#of(turn);
    if (bytes.length === 0) return known?.item ?? null;
    const answer = known ?? this.#create(turn, generation);
    answer.generation = generation;
    const item = this.#item(answer);
    item.sentUs = Math.max(item.sentUs, untilUs);
    const delta = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
    this.#send({ type: "response.output_audio.delta", ...place(answer, item), delta });
    return item;
  }

  audioEnded(turn: number): void {
    const answer = this.#of(turn);
    if (answer === undefined) return;
    answer.audioEnded = true;
    // Sounds of the session are of no turn that could close.
    if (turn === 0) return this.#finish(answer, COMPLETED);
    this.#settle(answer);
  }

  /** What the arbiter says of the turn. */
  signal(signal: string, turn: number, reason: string): void {
    if (signal === "turn_open") return this.opened(turn);
    const answer = this.#of(turn);
    if (answer === undefined) return;
    if (signal === "commit") answer.committed = true;
    else if (signal === "abort") answer.aborted = reason || "aborted";
    else if (signal === "close") answer.closed = true;
    else return;
    this.#settle(answer);
  }

  /** Nothing of these turns is sent any more. */
  fence(turn: number, all: boolean, reason: string): void {
    for (const answer of this.#answers) {
      if (answer.done || !(answer.turn === turn || (all && answer.turn < turn))) continue;
      this.#finish(answer, endingOf(answer.aborted ?? reason));
    }
  }

  /** The session is over. */
  close(reason: string): void {
    for (const answer of this.#answers) if (!answer.done) this.#finish(answer, endingOf(answer.aborted ?? reason));
  }

  #of(turn: number): Answer | undefined {
    return this.#answers.findLast((answer) => answer.turn === turn && !answer.done);
  }

  #settle(answer: Answer): void {
    if (!answer.closed && answer.aborted === null) return;
    if (answer.aborted !== null) return this.#finish(answer, endingOf(answer.aborted));
    const silent = answer.item === null || (answer.item.sentUs === 0 && answer.item.transcript === null);
    if (answer.committed && (answer.audioEnded || silent)) this.#finish(answer, COMPLETED);
  }

  #create(turn: number, generation: number): Answer {
    this.#numbered += 1;
    const answer: Answer = {
      id: `resp_${String(this.#numbered).padStart(6, "0")}`,
      turn,
      generation,
      item: null,
      audioEnded: false,
      committed: false,
      aborted: null,
      closed: false,
      done: false,
    };
    this.#answers.push(answer);
    if (this.#answers.length > limits.RESPONSES_MAX) this.#answers.shift();
    this.#send({ type: "response.created", response: this.#object(answer, "in_progress", null) });
    return answer;
  }

  #item(answer: Answer): Item {
    if (answer.item !== null) return answer.item;
    const { turn, generation } = answer;
    const own = { status: "in_progress", transcript: null, sentUs: 0, heardMs: null } as const;
    const item: Item = { id: this.#items.id(), role: "assistant", turn, generation, ...own };
    answer.item = item;
    const shown = { ...itemObject(item), content: [] };
    this.#send({ type: "response.output_item.added", response_id: answer.id, output_index: 0, item: shown });
    const previous = this.#items.add(item);
    this.#send({ type: "conversation.item.added", previous_item_id: previous, item: shown });
    const part = { type: "audio", transcript: "" };
    this.#send({ type: "response.content_part.added", ...place(answer, item), part });
    return item;
  }

  #finish(answer: Answer, { status, details }: Ending): void {
    answer.done = true;
    const { item } = answer;
    if (item !== null) {
      item.status = status === "completed" ? "completed" : "incomplete";
      const at = place(answer, item);
      const transcript = item.transcript ?? "";
      const shown = itemObject(item);
      this.#send({ type: "response.output_audio.done", ...at });
      this.#send({ type: "response.output_audio_transcript.done", ...at, transcript });
      this.#send({ type: "response.content_part.done", ...at, part: { type: "audio", transcript } });
      this.#send({ type: "response.output_item.done", response_id: answer.id, output_index: 0, item: shown });
      this.#send({ type: "conversation.item.done", item: shown });
    }
    this.#send({ type: "response.done", response: this.#object(answer, status, details) });
  }

  #object({ id, item, turn }: Answer, status: string, details: Json | null): Json {
    const output = item === null ? [] : [itemObject(item)];
    const head = { object: "realtime.response", id, status, status_details: details, output };
    // The turn as timelines and recordings name it.
    const metadata = { turn: String(turn) };
    return { ...head, output_modalities: ["audio"], metadata, usage: null, ...this.#facts() };
  }
}

function place(answer: Answer, item: Item): Json {
  return { response_id: answer.id, item_id: item.id, output_index: 0, content_index: 0 };
}

const byClient: ReadonlySet<string> = new Set(["user_cancel", "cancelled", "stop", "caller_hangup", "ended_by_caller"]);

/** Why a response was cut, in the words of the protocol. */
function endingOf(reason: string): Ending {
  if (reason === "barge_in") return { status: "cancelled", details: { type: "cancelled", reason: "turn_detected" } };
  if (byClient.has(reason)) return { status: "cancelled", details: { type: "cancelled", reason: "client_cancelled" } };
  return { status: "failed", details: { type: "failed", error: { type: "server_error", code: reason } } };
}
