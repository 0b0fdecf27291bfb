import type { GraphDefinition } from "@rspp/kernel/graph";
import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/**
 * Degrade postures (F-048, `kernel.md` §3): one step at a time, never further than there are steps; a turn's calls are made
 * with the settings of the steps it has taken; lifted after calm, and never while a turn is under way.
 */
export class PosturesChecker extends BaseChecker {
  readonly name = "postures";
  readonly #steps: readonly ReadonlySet<string>[];
  readonly #calmNs: number;
  readonly #levels = new Map<string, { level: number; atNs: number }>();
  /** By life: the turns under way, each with its level. */
  readonly #turns = new Map<string, Map<number, number>>();

  constructor({ degrade }: GraphDefinition) {
    super();
    this.#steps = (degrade?.postures ?? []).map(({ nodes }) => new Set(Object.keys(nodes)));
    this.#calmNs = (degrade?.calmMs ?? 0) * 1e6;
  }

  see(event: TraceEvent, atNs: number): void {
    if (this.#steps.length === 0) return;
    if (event.kind === "signal") this.#signal(event.life, event.event, atNs);
    if (event.kind !== "call" || !this.#steps.some((step) => step.has(event.node))) return;
    const expected = this.#turns.get(event.life)?.get(event.turn) ?? 0;
    if (event.posture !== expected)
      this.fail(
        `${event.life}#${event.turn}: ${event.node} was asked at step ${event.posture}, its turn is at ${expected}`,
      );
  }

  #signal(
    life: string,
    { signal, turn, reason, fields }: Extract<TraceEvent, { kind: "signal" }>["event"],
    atNs: number,
  ): void {
    const state = this.#levels.get(life) ?? { level: 0, atNs: 0 };
    const turns = this.#turns.get(life) ?? new Map<number, number>();
    this.#turns.set(life, turns);
    this.#levels.set(life, state);
    if (signal === "turn_open") turns.set(turn, state.level);
    if (signal === "commit" || signal === "abort") turns.delete(turn);
    if (signal === "degrade" && fields.posture !== undefined) {
      if (fields.level !== state.level + 1) this.fail(`${life}: step ${fields.level} after ${state.level}`);
      if (Number(fields.level) > this.#steps.length)
        this.fail(`${life}: step ${fields.level} of ${this.#steps.length}`);
      state.level = Number(fields.level);
      state.atNs = atNs;
      if (turns.has(turn)) turns.set(turn, state.level);
    }
    if (signal !== "recovered" || fields.capability !== "posture") return;
    if (reason !== "calm" || atNs - state.atNs < this.#calmNs * 0.99)
      this.fail(`${life}: lifted ${Math.round((atNs - state.atNs) / 1e6)} ms after its last cause`);
    if (turns.size > 0) this.fail(`${life}: lifted while turn ${[...turns.keys()][0]} was under way`);
    state.level = 0;
  }
}
