import type { TraceEvent } from "../trace.ts";
import { BaseChecker, type RunEnd } from "./checker.ts";

interface Turn {
  open: boolean;
  terminal: string;
  closed: boolean;
}

const afterTerminal: ReadonlySet<string> = new Set([
  "close",
  "output_accepted",
  "playback_started",
  "playback_completed",
  "playback_cancelled",
  "playback_lost",
  "barge_in",
  "cancel",
  "output_hold",
  "output_resume",
]);

/** `turn_open`, then exactly one of `commit` or `abort`, then `close`; afterwards delivery and its cancel alone (`kernel.md` §2). */
export class LifecycleChecker extends BaseChecker {
  readonly name = "lifecycle";
  readonly #turns = new Map<string, Turn>();

  see(event: TraceEvent): void {
    if (event.kind !== "signal" || event.event.turn === 0) return;
    const { signal, turn } = event.event;
    const key = `${event.life}#${turn}`;
    const known = this.#turns.get(key);
    if (signal === "turn_open") {
      if (known !== undefined) this.fail(`${key}: turn_open again`);
      this.#turns.set(key, { open: true, terminal: "", closed: false });
      return;
    }
    if (known === undefined) return this.fail(`${key}: ${signal} before turn_open`);
    if (signal === "commit" || signal === "abort") {
      if (known.terminal !== "") this.fail(`${key}: ${signal} after ${known.terminal}`);
      known.terminal = signal;
      if (signal === "abort" && event.event.reason === "") this.fail(`${key}: abort without a reason`);
    } else if (signal === "close") {
      if (known.terminal === "") this.fail(`${key}: close before its terminal`);
      if (known.closed) this.fail(`${key}: close again`);
      known.closed = true;
    } else if (known.terminal !== "" && !afterTerminal.has(signal))
      this.fail(`${key}: ${signal} after ${known.terminal}`);
  }

  override end(run: RunEnd): void {
    const crashed = new Set(run.lives.filter((life) => life.crashed).map((life) => life.id));
    for (const [key, turn] of this.#turns) {
      const life = key.slice(0, key.lastIndexOf("#"));
      if (!turn.closed && !crashed.has(life)) this.fail(`${key}: never closed`);
    }
  }
}
