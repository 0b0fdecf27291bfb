import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/** What the shell gives a tenant in one round (`scheduler.ts`); its last piece of work may be longer. */
const roundUnits = 64;
const rounds = 2;

/**
 * A tenant with work waiting is served after at most two rounds of each other tenant, whatever those have (`kernel.md` §4,
 * F-174). Only seen while sessions of more than one tenant have work.
 */
export class FairnessChecker extends BaseChecker {
  readonly name = "fairness";
  /** By process and tenant: units that others were given since it last was, while it waited. */
  #largest = 0;
  readonly #waited = new Map<string, Map<string, number>>();

  see(event: TraceEvent): void {
    if (event.kind === "process" || event.kind === "life_ends") return this.#waited.clear();
    if (event.kind !== "step") return;
    this.#largest = Math.max(this.#largest, event.units);
    for (const [key, others] of this.#waited) {
      if (!key.startsWith(`${event.proc} `) || key === `${event.proc} ${event.tenant}`) continue;
      const units = (others.get(event.tenant) ?? 0) + event.units;
      others.set(event.tenant, units);
      if (units > rounds * (roundUnits + this.#largest))
        this.fail(`${key} waited while ${event.tenant} was given ${units} units`);
    }
    const key = `${event.proc} ${event.tenant}`;
    if (event.waiting) this.#waited.set(key, new Map());
    else this.#waited.delete(key);
  }
}
