import { type Ring, ringAt, ringCreate, ringPush, ringRemoveAt, ringShift } from "@rspp/base/ring";
import { CONTROL_SIGNALS } from "@rspp/kernel/control-signals";
import type { IngressAudio, Input, InputBody } from "@rspp/kernel/input";
import { limits } from "./limits.ts";

const overtaking: ReadonlySet<string> = new Set(
  Object.entries(CONTROL_SIGNALS).flatMap(([name, spec]) => (spec.class === "overtaking" ? [name] : [])),
);

/** Acts in the next step, whatever waits (`kernel.md` §6, F-142). Among themselves these keep their order. */
function overtakes(body: InputBody): boolean {
  switch (body.type) {
    case "control":
      return body.controlClass === "overtaking" && overtaking.has(body.signal);
    case "delivery":
      return body.state === "cancelled";
    default:
      return body.type === "authority" || body.type === "operator" || body.type === "fence_ack";
  }
}

/**
 * What waits for a session's next steps, both parts bounded. What overtakes is taken first; the input's sequence is given
 * when it is taken, so that a replay sees the order that was acted upon.
 */
export class InputQueue {
  private readonly urgent: Ring<Input> = ringCreate(limits.INPUT_URGENT_ITEMS_MAX);
  private readonly rest: Ring<Input> = ringCreate(limits.INPUT_ITEMS_MAX);

  /** False when full. What overtakes queues behind the others where its own part is full. */
  push(input: Input): boolean {
    return (overtakes(input.body) && ringPush(this.urgent, input)) || ringPush(this.rest, input);
  }

  shift(): Input | undefined {
    return ringShift(this.urgent) ?? ringShift(this.rest);
  }

  size(): number {
    return this.urgent.size + this.rest.size;
  }

  urgentSize(): number {
    return this.urgent.size;
  }

  /** One place is left for the command that ends the session. */
  full(): boolean {
    return this.rest.size >= limits.INPUT_ITEMS_MAX - 1;
  }

  /** Takes out the oldest caller frame; null where none waits. */
  dropAudio(): IngressAudio | null {
    for (let i = 0; i < this.rest.size; i++) {
      const body = ringAt(this.rest, i)?.body;
      if (body?.type !== "audio") continue;
      ringRemoveAt(this.rest, i);
      return body;
    }
    return null;
  }

  clear(): void {
    while (this.shift() !== undefined);
  }
}
