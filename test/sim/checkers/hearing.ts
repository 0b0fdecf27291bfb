import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/** Frames of 20 ms: longer than the detector fails at a time, and than the budget that gives it up. */
const framesMax = 250;

/**
 * A host node that hung and was given up is asked anew (F2): a session that still hears its caller has it back before long.
 * The caller would be unheard to the end of that life, which others' turns hide.
 */
export class HearingChecker extends BaseChecker {
  readonly name = "hearing";
  /** By life, while its node is given up: which one, and the caller's audio since, by instants at which some came. */
  readonly #lost = new Map<string, { node: unknown; frames: number; atNs: number }>();

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "life_ends") this.#lost.delete(event.life);
    if (event.kind === "signal") {
      const { signal, reason, fields } = event.event;
      if (signal === "degraded" && reason === "node_timeout")
        this.#lost.set(event.life, { node: fields.node, frames: 0, atNs });
      if (signal === "recovered" && this.#lost.get(event.life)?.node === fields.node) this.#lost.delete(event.life);
    }
    if (event.kind !== "ingress" || event.message.kind !== "audio") return;
    const lost = this.#lost.get(event.life);
    // What a process that stood still finds waiting is one instant's.
    if (lost === undefined || lost.atNs === atNs) return;
    lost.atNs = atNs;
    lost.frames += 1;
    if (lost.frames === framesMax) this.fail(`${event.life}: ${lost.node} did not come back`);
  }
}
