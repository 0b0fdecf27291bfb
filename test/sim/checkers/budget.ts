import type { ScopedBudget } from "@rspp/kernel/budget-state";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** How late a budget may act while its process runs: it then waits for nothing but its turn. */
const graceNs = 60_000_000;

interface Attempt {
  life: string;
  openedNs: number;
  timeoutNs: number;
  done: boolean;
}

/**
 * Budgets (`kernel.md` §9): a warning before what it warns of; no attempt of a model or a voice goes on past its time
 * without a word of it, and nothing is fed to what was cancelled.
 */
export class BudgetChecker extends BaseChecker {
  readonly name = "budgets";
  readonly #limits: ReadonlyMap<string, ScopedBudget>;
  /** By turn that is under way: since when, and what its budgets must come to. */
  readonly #turns = new Map<string, { openedNs: number; exhausted: Set<string>; terminated: string }>();
  readonly #attempts = new Map<string, Attempt>();
  readonly #cancelled = new Set<string>();
  readonly #warned = new Set<string>();
  readonly #resumedNs = new Map<string, number>();

  constructor({ budgets }: GraphDefinition) {
    super();
    this.#limits = new Map((budgets?.limits ?? []).map((limit) => [limit.id, limit]));
  }

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "process") this.#resumedNs.set(event.proc, event.up ? atNs : Number.POSITIVE_INFINITY);
    if (event.kind === "life_ends")
      for (const [key, attempt] of this.#attempts) if (attempt.life === event.life) this.#attempts.delete(key);
    if (event.kind === "life_ends")
      for (const key of this.#turns.keys()) if (key.startsWith(`${event.life}#`)) this.#turns.delete(key);
    if (event.kind === "signal") {
      this.#signal(event.life, event.event);
      if (this.#limits.size > 0) this.#scoped(event.life, event.event, atNs);
    }
    if (event.kind === "invocation") this.#invocation(event, atNs);
  }

  override end(run: RunEnd): void {
    for (const [key, attempt] of this.#attempts) this.#late(key, attempt, run.endNs);
  }

  #signal(life: string, { signal, turn, reason, fields }: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    // A budget on a scope goes by its own id, those of the profile by their reason.
    const of = `${life}#${turn} ${fields.budget ?? `${reason} ${fields.node ?? ""}`}`;
    if (signal === "budget_warning") this.#warned.add(of);
    if (signal === "budget_exhausted" && !this.#warned.has(of)) this.fail(`${of}: exhausted without a warning`);
    for (const name of ["budget_warning", "budget_exhausted"])
      if (signal === name && fields.budgetLeft === undefined) this.fail(`${of}: ${name} without what is left`);
  }

  /** Those on a scope (F-045): not before their time nor, of a turn, long after it; what is to follow follows. */
  #scoped(
    life: string,
    { signal, turn, fields }: Extract<TraceEvent, { kind: "signal" }>["event"],
    atNs: number,
  ): void {
    const key = `${life}#${turn}`;
    if (signal === "turn_open") this.#turns.set(key, { openedNs: atNs, exhausted: new Set(), terminated: "" });
    const state = this.#turns.get(key);
    if (state === undefined) return;
    this.#overdue(key, life, state, atNs);
    const limit = this.#limits.get(String(fields.budget));
    if (signal === "budget_exhausted" && limit !== undefined) {
      const ms = (atNs - state.openedNs) / 1e6;
      if (fields.unit === "time" && ms < (limit.hardMs ?? 0) * 0.99)
        this.fail(`${key}: ${limit.id} of ${limit.hardMs} ms was exhausted after ${Math.round(ms)} ms`);
      state.exhausted.add(limit.id);
      if (limit.onExhausted === "terminate") state.terminated = limit.id;
    }
    if (signal === "commit" && state.terminated !== "")
      this.fail(`${key}: committed though ${state.terminated} ended it`);
    if (signal === "commit" || signal === "abort") this.#turns.delete(key);
  }

  #overdue(key: string, life: string, state: { openedNs: number; exhausted: Set<string> }, atNs: number): void {
    for (const { id, scope, hardMs } of this.#limits.values()) {
      if (scope !== "turn" || hardMs === undefined || state.exhausted.has(id)) continue;
      const resumedNs = this.#resumedNs.get(life.slice(0, life.indexOf("."))) ?? 0;
      const dueNs = Math.max(state.openedNs + hardMs * 1.01e6, resumedNs);
      if (atNs > dueNs + graceNs) this.fail(`${key}: went on past ${id} of ${hardMs} ms, and it was not told`);
    }
  }

  #invocation(event: Extract<TraceEvent, { kind: "invocation" }>, atNs: number): void {
    const key = `${event.life} ${event.invocation}`;
    if (event.what === "pushed" && this.#cancelled.has(key)) this.fail(`${key}: fed after its cancel`);
    if (event.what === "cancelled") this.#cancelled.add(key);
    if (event.what === "opened") {
      // A recogniser listens for as long as there is something to hear.
      if (event.modality === "stt") return;
      const timeoutNs = event.attemptTimeoutMs * 1e6;
      this.#attempts.set(key, { life: event.life, openedNs: atNs, timeoutNs, done: false });
      return;
    }
    const attempt = this.#attempts.get(key);
    if (attempt === undefined || event.what === "pushed") return;
    this.#late(key, attempt, atNs);
    this.#attempts.delete(key);
  }

  #late(key: string, { life, openedNs, timeoutNs }: Attempt, atNs: number): void {
    const resumedNs = this.#resumedNs.get(life.slice(0, life.indexOf("."))) ?? 0;
    const dueNs = Math.max(openedNs + timeoutNs, resumedNs);
    if (atNs > dueNs + graceNs) this.fail(`${key}: went on ${Math.round((atNs - dueNs) / 1e6)} ms past its time`);
  }
}
