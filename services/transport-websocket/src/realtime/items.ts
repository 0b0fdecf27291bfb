/** The conversation's items as this endpoint has shown them: bounded, in order. Pure. */
import type { Json } from "./client-events.ts";
import { realtimeLimits as limits } from "./limits.ts";

export interface Item {
  readonly id: string;
  readonly role: "user" | "assistant";
  status: "in_progress" | "completed" | "incomplete";
  /** Null: there is none, or what was not heard was taken out of it. */
  transcript: string | null;
  /** Audio of it that was sent, microseconds; 0 of a user's. */
  sentUs: number;
  /** Whose output it is; 0 of a user's. */
  readonly turn: number;
  readonly generation: number;
  /** Media time that counts as heard, once that is settled, milliseconds. */
  heardMs: number | null;
}

export class Items {
  readonly #items = new Map<string, Item>();
  #numbered = 0;
  #last: string | null = null;

  /** Makes an id; the item is added when the conversation shows it. */
  id(): string {
    this.#numbered += 1;
    return `item_${String(this.#numbered).padStart(6, "0")}`;
  }

  /** @returns the id of the item before it. */
  add(item: Item): string | null {
    const previous = this.#last;
    this.#items.set(item.id, item);
    this.#last = item.id;
    const [oldest] = this.#items.keys();
    if (this.#items.size > limits.ITEMS_MAX && oldest !== undefined) this.#items.delete(oldest);
    return previous;
  }

  find(id: string): Item | undefined {
    return this.#items.get(id);
  }

  /** The newest of that turn's output with a generation below it. */
  spoken(turn: number, below: number): Item | undefined {
    return [...this.#items.values()].findLast(
      (item) => item.role === "assistant" && item.turn === turn && item.generation < below,
    );
  }
}

export function itemObject({ id, role, status, transcript }: Item): Json {
  const type = role === "user" ? "input_audio" : "output_audio";
  const content = [{ type, transcript }];
  return { id, object: "realtime.item", type: "message", status, role, content };
}
