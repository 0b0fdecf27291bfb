/** Ingress messages of one session that were refused, by field; their number is bounded whatever comes. */
import type { IngressRefusal } from "./ingress.ts";

const fieldsMax = 64;

export class IngressRefusals {
  readonly #counts = new Map<string, number>();
  last: IngressRefusal | null = null;

  note(refusal: IngressRefusal): void {
    this.last = refusal;
    const count = this.#counts.get(refusal.field);
    const field = count === undefined && this.#counts.size >= fieldsMax ? "other" : refusal.field;
    this.#counts.set(field, (this.#counts.get(field) ?? 0) + 1);
  }

  counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
