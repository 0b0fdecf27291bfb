import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** How long every session here waits for its caller, and what its ending may take. */
const reconnectNs = 10_000_000_000;
const slackNs = 1_500_000_000;

/** A session whose adapter has died, and nobody else knows the call, ends by itself in its reconnect time (F6). */
export class LineChecker extends BaseChecker {
  readonly name = "line";
  readonly #died = new Map<string, number>();
  readonly #stood = new Set<string>();

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "process" && !event.up) this.#stood.add(event.proc);
    if (event.kind === "adapter_died") this.#died.set(event.life, atNs);
    if (event.kind === "life_ends") this.#died.delete(event.life);
    if (event.kind === "timer" && this.#died.size > 0) this.#look(atNs);
  }

  #look(atNs: number): void {
    for (const [life, diedNs] of this.#died) {
      if (atNs - diedNs < reconnectNs * 1.01 + slackNs) continue;
      this.#died.delete(life);
      if (!this.#stood.has(life.slice(0, life.indexOf("."))))
        this.fail(`${life}: still there ${Math.round((atNs - diedNs) / 1e6)} ms after its adapter died`);
    }
  }

  override end(run: RunEnd): void {
    this.#look(run.endNs);
  }
}
