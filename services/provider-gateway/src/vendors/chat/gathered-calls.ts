/** Tool calls as models write them: in pieces, several at once; told whole. */
import { TOOL_ARGUMENTS_CHARS_MAX, TOOL_CALL_NAME_CHARS_MAX, TOOL_CALLS_ASKED_MAX } from "@rspp/kernel/limits";
import type { ToolCall } from "@rspp/ports/provider";

/** A piece of a call: which one, and what is to be put behind what came of it before. */
export interface ToolCallDelta {
  index?: number;
  id?: string | null;
  function?: { name?: string | null; arguments?: string | null };
}

interface Gathered {
  id: string;
  name: string;
  arguments: string;
}

/** Calls that come in pieces, in the order of their index. */
export class GatheredCalls {
  readonly #prefix: string;
  readonly #calls = new Map<number, Gathered>();

  /** @param prefix of ids where the endpoint gives none. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** What is wrong with the pieces; "" for nothing. */
  add(deltas: readonly ToolCallDelta[]): string {
    if (!Array.isArray(deltas)) return "the stream holds tool calls that are no list";
    for (const { index, id, function: part } of deltas) {
      // An endpoint that gives whole calls may leave the index out.
      const at = typeof index === "number" ? index : this.#next(id);
      const call = this.#calls.get(at) ?? { id: "", name: "", arguments: "" };
      if (typeof id === "string" && id !== "") call.id = id;
      if (typeof part?.name === "string") call.name += part.name;
      if (typeof part?.arguments === "string") call.arguments += part.arguments;
      this.#calls.set(at, call);
      if (this.#calls.size > TOOL_CALLS_ASKED_MAX) return `the answer calls more than ${TOOL_CALLS_ASKED_MAX} tools`;
      if (call.arguments.length > TOOL_ARGUMENTS_CHARS_MAX)
        return `the arguments of a tool call are longer than ${TOOL_ARGUMENTS_CHARS_MAX} characters`;
      if (call.name.length > TOOL_CALL_NAME_CHARS_MAX || call.id.length > TOOL_CALL_NAME_CHARS_MAX)
        return `the id or name of a tool call is longer than ${TOOL_CALL_NAME_CHARS_MAX} characters`;
    }
    return "";
  }

  all(): ToolCall[] {
    return [...this.#calls]
      .sort(([a], [b]) => a - b)
      .map(([, { id, name, arguments: args }], i) => ({
        callId: id === "" ? `${this.#prefix}_${i + 1}` : id,
        name,
        arguments: args.trim() === "" ? "{}" : args,
      }));
  }

  /** A piece with a new id begins a call; others belong to the last. */
  #next(id: string | null | undefined): number {
    const last = Math.max(-1, ...this.#calls.keys());
    const known = [...this.#calls].find(([, call]) => call.id !== "" && call.id === id);
    if (known !== undefined) return known[0];
    return typeof id === "string" && id !== "" ? last + 1 : Math.max(0, last);
  }
}
