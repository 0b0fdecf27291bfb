import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

/** Once a fence has acted at the adapter nothing of what it cut is taken in or played there (`kernel.md` §6; F-175). */
export class FenceChecker extends BaseChecker {
  readonly name = "fence";
  readonly #least = new Map<number, { generation: number; atNs: number }>();
  /** By binding and turn, as the link itself must keep it. */
  readonly #link = new Map<string, number>();
  /** By runtime life: what it has fenced itself must not leave it any more. */
  readonly #runtime = new Map<string, number>();

  see(event: TraceEvent, atNs: number): void {
    if (event.kind === "link_fence") {
      const key = `${event.binding}#${event.turn}`;
      this.#link.set(key, Math.max(this.#link.get(key) ?? 0, event.generation));
      return;
    }
    if (event.kind === "link_data" && event.at === "adapter" && event.turn !== null) {
      const least = this.#link.get(`${event.binding}#${event.turn}`) ?? 0;
      if (event.generation < least) this.fail(`the link gave out ${event.turn}.${event.generation} after its cut-off`);
      return;
    }
    if (event.kind === "egress") return this.#egress(event.life, event.message);
    if (event.kind === "adapter" && event.refused === "") {
      const { message } = event;
      if (message.kind === "fence") {
        const known = this.#least.get(message.turn);
        if (known === undefined || known.generation < message.generation) {
          this.#least.set(message.turn, { generation: message.generation, atNs });
        }
      } else if (message.kind === "media") {
        const fence = this.#least.get(message.turn);
        if (fence !== undefined && message.generation < fence.generation) {
          this.fail(`adapter took ${message.turn}.${message.generation} after its fence`);
        }
      }
    } else if (event.kind === "played") {
      // A turn is fenced once, over all that it has sent, whatever its generation is called.
      const fence = this.#least.get(event.turn);
      if (fence === undefined) return;
      // What had begun to sound before the fence is over within its own sample.
      if (event.toNs > fence.atNs + 200_000)
        this.fail(`played ${event.turn}.${event.generation} ${event.toNs - fence.atNs} ns past its fence`);
    } else if (event.kind === "signal") this.#signal(event.life, event.event);
  }

  /** No output of a fenced scope is accepted afterwards. */
  #signal(life: string, { signal, turn }: Extract<TraceEvent, { kind: "signal" }>["event"]): void {
    if (signal !== "output_accepted" && signal !== "playback_started") return;
    if (this.#runtime.has(`${life}#${turn}`)) this.fail(`${life}#${turn}: ${signal} after its fence`);
  }

  override end(run: RunEnd): void {
    if (run.samplesAfterFence > 0) this.fail(`${run.samplesAfterFence} samples were played after their fence`);
  }

  #egress(life: string, message: Extract<TraceEvent, { kind: "egress" }>["message"]): void {
    if (message.kind === "fence") {
      const key = `${life}#${message.turn}`;
      this.#runtime.set(key, Math.max(this.#runtime.get(key) ?? 0, message.generation));
    } else if (message.kind === "media") {
      const least = this.#runtime.get(`${life}#${message.turn}`) ?? 0;
      if (message.generation < least)
        this.fail(`${life}: sent ${message.turn}.${message.generation} after its own fence`);
    }
  }
}
