/** What a caller's transport was told already: on a new binding the runtime repeats what it does not know to have arrived. */
import type { TransportEgress } from "@rspp/ports/transport";
import { limits } from "./link-limits.ts";

export class Heard {
  /** Last frame by turn. */
  readonly #frames = new Map<number, { generation: number; sequence: number }>();
  /** Highest fence by turn: they only rise, so that one no higher says nothing new. */
  readonly #fences = new Map<number, { generation: number; all: boolean }>();
  #positioned = 0;
  #overtaking = 0;

  /** Another runtime speaks: it numbers its events anew, its turns go on. */
  successor(): void {
    this.#positioned = 0;
    this.#overtaking = 0;
  }

  /** Media and fences by what they say. */
  isNew(message: TransportEgress): boolean {
    if (message.kind === "media") {
      const { turn, generation, sequence } = message;
      const last = this.#frames.get(turn);
      if (last === undefined) keep(this.#frames, turn, { generation, sequence });
      else if (generation < last.generation || (generation === last.generation && sequence <= last.sequence))
        return false;
      else {
        last.generation = generation;
        last.sequence = sequence;
      }
      return true;
    }
    if (message.kind !== "fence") return true;
    const { turn, generation, all } = message;
    const known = this.#fences.get(turn);
    if (known === undefined) keep(this.#fences, turn, { generation, all });
    else if (generation <= known.generation && (known.all || !all)) return false;
    else {
      known.generation = Math.max(generation, known.generation);
      known.all ||= all;
    }
    return true;
  }

  /** Events by number, which rises in each class; 0 is never a repeat. */
  isNewEvent(number: number, overtaking: boolean): boolean {
    const last = overtaking ? this.#overtaking : this.#positioned;
    if (number !== 0 && number <= last) return false;
    if (overtaking) this.#overtaking = Math.max(last, number);
    else this.#positioned = Math.max(last, number);
    return true;
  }
}

function keep<T>(map: Map<number, T>, turn: number, value: T): void {
  map.set(turn, value);
  if (map.size <= limits.LINK_TURNS_KEPT_MAX) return;
  for (const [oldest] of map) {
    map.delete(oldest);
    return;
  }
}
