import type { TraceEvent } from "../trace.ts";

/** What is known of the run when it is over, beyond its trace. */
export interface RunEnd {
  lives: readonly {
    id: string;
    session: string;
    crashed: boolean;
    lostAtEnd: boolean;
    over: boolean;
    endedBecause: string;
    leftOpen: { invocations: number; timers: number; payloadItems: number } | null;
    replayProblem: string | null;
  }[];
  spools: readonly { proc: string; problems: readonly { kind: string; reason: string }[] }[];
  endNs: number;
  tornOrdered: number;
  samplesAfterFence: number;
  /** The caller's last utterance, spoken when all was healed: whether its answer was played to its end. */
  answered: boolean;
  /** Chains by index that the replay service's store holds, by `epoch/session`. */
  stored: ReadonlyMap<string, readonly string[]>;
  /** The last sequence on a runtime's disk, by process and `epoch/session`. */
  spooled: ReadonlyMap<string, number>;
  exports: readonly { proc: string; halted: string; unacked: number }[];
}

/** Sees what anybody could see of a run, and says what must not be. */
export interface Checker {
  readonly name: string;
  see(event: TraceEvent, atNs: number): void;
  end(run: RunEnd): void;
  readonly problems: readonly string[];
}

export abstract class BaseChecker implements Checker {
  abstract readonly name: string;
  readonly #problems: string[] = [];

  get problems(): readonly string[] {
    return this.#problems;
  }

  abstract see(event: TraceEvent, atNs: number): void;

  end(_run: RunEnd): void {}

  protected fail(problem: string): void {
    if (this.#problems.length < 10) this.#problems.push(problem);
  }
}
