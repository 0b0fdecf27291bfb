/**
 * Linearizability of a recorded concurrent history (Wing and Gong's search with Lowe's memory, as in porcupine): is there an
 * order of the operations that a sequential object could have carried out, in which whatever ended before another began
 * comes first? An operation whose outcome is unknown never ends: it took effect at any later moment, or never.
 */

export interface Operation<In, Out> {
  readonly client: number;
  readonly input: In;
  /** Undefined: the caller never learnt what became of it. */
  readonly output: Out | undefined;
  /** Places in the order in which the recorder saw calls and answers; `returned` is infinite for an unknown outcome. */
  readonly called: number;
  readonly returned: number;
}

export interface Model<State, In, Out> {
  readonly initial: State;
  /** Every state that may follow, none when `output` is impossible here. `output` undefined: whatever it was. */
  step(state: State, input: In, output: Out | undefined): readonly State[];
  /** Equal for equal states alone. */
  keyOf(state: State): string;
}

export type Verdict<In, Out> =
  | { readonly kind: "linearizable"; readonly steps: number }
  /** `stuck`: what could not be placed behind the longest order that was found. */
  | { readonly kind: "violation"; readonly placed: number; readonly stuck: readonly Operation<In, Out>[] }
  /** The search was given up: nothing is shown either way. */
  | { readonly kind: "undecided"; readonly steps: number };

/** One call or answer in the list of what is not placed yet. */
interface Entry {
  readonly index: number;
  /** The answer's entry; null for an answer. */
  readonly answer: Entry | null;
  next: Entry | null;
  before: Entry | null;
}

const stepsMax = 5_000_000;

export function checkLinearizable<State, In, Out>(
  model: Model<State, In, Out>,
  history: readonly Operation<In, Out>[],
  limit = stepsMax,
): Verdict<In, Out> {
  return new Search(model, history).run(limit);
}

class Search<State, In, Out> {
  readonly #model: Model<State, In, Out>;
  readonly #history: readonly Operation<In, Out>[];
  readonly #head: Entry;
  readonly #placed: Uint8Array;
  /** Sets of placed operations with the state they led to, that were tried. */
  readonly #tried = new Set<string>();
  #longest: number[] = [];

  constructor(model: Model<State, In, Out>, history: readonly Operation<In, Out>[]) {
    this.#model = model;
    this.#history = history;
    this.#placed = new Uint8Array(history.length);
    this.#head = listOf(history);
  }

  run(limit: number): Verdict<In, Out> {
    const stack: { entry: Entry; states: State[]; state: State }[] = [];
    let state = this.#model.initial;
    let entry = this.#head.next;
    // States that the entry about to be placed may still lead to, besides those tried.
    let others: State[] | null = null;
    for (let steps = 0; steps < limit; steps++) {
      if (this.#onlyUnknownLeft()) return { kind: "linearizable", steps };
      if (entry?.answer) {
        const next: State[] = others ?? this.#after(state, entry.index);
        others = null;
        const to = next.pop();
        if (to === undefined) {
          entry = entry.next;
        } else if (this.#isNew(entry.index, to)) {
          stack.push({ entry, states: next, state });
          this.#place(entry, stack.length, stack);
          state = to;
          entry = this.#head.next;
        } else {
          others = next;
        }
        continue;
      }
      // An answer whose call is not placed: nothing further may come first.
      const back = stack.pop();
      if (back === undefined) return this.#violation();
      this.#takeBack(back.entry);
      ({ state, entry } = back);
      others = back.states;
    }
    return { kind: "undecided", steps: limit };
  }

  /** Whatever has no answer need not have happened. */
  #onlyUnknownLeft(): boolean {
    for (let at = this.#head.next; at !== null; at = at.next) if (at.answer === null) return false;
    return true;
  }

  #after(state: State, index: number): State[] {
    const operation = this.#history[index];
    if (operation === undefined) return [];
    const next = [...this.#model.step(state, operation.input, operation.output)];
    if (operation.returned !== Number.POSITIVE_INFINITY) return next;
    // What nobody heard of and changes nothing here may as well come later: no order is lost by leaving it.
    const here = this.#model.keyOf(state);
    return next.filter((to) => this.#model.keyOf(to) !== here);
  }

  #isNew(index: number, state: State): boolean {
    this.#placed[index] = 1;
    const key = `${Buffer.from(this.#placed).toString("latin1")}|${this.#model.keyOf(state)}`;
    this.#placed[index] = 0;
    if (this.#tried.has(key)) return false;
    this.#tried.add(key);
    return true;
  }

  #place(entry: Entry, depth: number, stack: readonly { entry: Entry }[]): void {
    this.#placed[entry.index] = 1;
    if (depth > this.#longest.length) this.#longest = stack.map((one) => one.entry.index);
    unlink(entry);
    if (entry.answer !== null) unlink(entry.answer);
  }

  #takeBack(entry: Entry): void {
    this.#placed[entry.index] = 0;
    if (entry.answer !== null) relink(entry.answer);
    relink(entry);
  }

  #violation(): Verdict<In, Out> {
    const placed = new Set(this.#longest);
    const left = this.#history.filter((_, i) => !placed.has(i));
    const firstAnswer = Math.min(...left.map(({ returned }) => returned));
    return { kind: "violation", placed: placed.size, stuck: left.filter(({ called }) => called <= firstAnswer) };
  }
}

/** Calls and answers in the order they were seen; unknown outcomes have no answer and stand as calls to the end. */
function listOf(history: readonly Operation<unknown, unknown>[]): Entry {
  const events: { at: number; entry: Entry }[] = [];
  for (const [index, { called, returned }] of history.entries()) {
    const answer: Entry = { index, answer: null, next: null, before: null };
    events.push({ at: called, entry: { index, answer, next: null, before: null } });
    if (returned !== Number.POSITIVE_INFINITY) events.push({ at: returned, entry: answer });
  }
  events.sort((a, b) => a.at - b.at);
  const head: Entry = { index: -1, answer: null, next: null, before: null };
  let last = head;
  for (const { entry } of events) {
    entry.before = last;
    last.next = entry;
    last = entry;
  }
  return head;
}

function unlink(entry: Entry): void {
  if (entry.before !== null) entry.before.next = entry.next;
  if (entry.next !== null) entry.next.before = entry.before;
}

/** In the reverse order of {@link unlink}. */
function relink(entry: Entry): void {
  if (entry.before !== null) entry.before.next = entry;
  if (entry.next !== null) entry.next.before = entry;
}
