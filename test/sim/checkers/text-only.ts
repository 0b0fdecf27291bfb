import type { GraphDefinition } from "@rspp/kernel/graph";
import type { TraceEvent } from "../trace.ts";
import { BaseChecker } from "./checker.ts";

/**
 * A pipeline that may go on as text does so (F-137): no turn of it ends for its voice alone, and the caller is shown what he
 * cannot hear before the turn commits.
 */
export class TextOnlyChecker extends BaseChecker {
  readonly name = "text_only";
  readonly #on: boolean;
  readonly #voices: ReadonlySet<string>;
  /** By turn: the modality of the call that failed last, and of a turn that is under way how many clauses it has shown. */
  readonly #failed = new Map<string, string>();
  readonly #shown = new Map<string, number>();
  /** Turns of which the voice was gone. */
  readonly #silent = new Set<string>();
  readonly #current = new Map<string, string>();

  constructor({ degrade, nodes }: GraphDefinition) {
    super();
    this.#on = degrade?.textOnly === true;
    this.#voices = new Set(
      nodes.filter(({ kind }) => kind === "tts").flatMap((n) => n.candidates.map((c) => c.provider)),
    );
  }

  see(event: TraceEvent): void {
    if (!this.#on) return;
    if (event.kind === "egress" && event.message.kind === "text" && event.message.role === "assistant") {
      const key = `${event.life}#${event.message.turn}`;
      this.#shown.set(key, (this.#shown.get(key) ?? 0) + 1);
    }
    if (event.kind !== "signal") return;
    const { signal, turn, reason, fields } = event.event;
    const key = `${event.life}#${turn}`;
    if (signal === "turn_open") this.#current.set(event.life, key);
    if (signal === "provider_error") this.#failed.set(key, String(fields.provider));
    if (signal === "degraded" && reason === "text_only") {
      const current = this.#current.get(event.life);
      if (current === undefined) this.fail(`${event.life}: went on as text outside of a turn`);
      else this.#silent.add(current);
    }
    if (signal === "abort" && reason === "provider_failure" && this.#voices.has(this.#failed.get(key) ?? ""))
      this.fail(`${key}: ended for its voice, though it may go on as text`);
    if (signal === "commit" && this.#silent.has(key) && (this.#shown.get(key) ?? 0) === 0)
      this.fail(`${key}: its voice was gone, and nothing was shown`);
  }
}
