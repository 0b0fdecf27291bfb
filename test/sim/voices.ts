import type { InvocationOpen, WordTiming } from "@rspp/ports/provider";
import type { GatewayWatch, InvocationWatch } from "./remote-gateway.ts";
import type { LifeId, Trace } from "./trace.ts";

/** What a piece of synthesised audio says, known by the bytes themselves wherever they come out again. */
export interface Voice {
  life: LifeId;
  segment: number;
  /** The clause, and where in its audio this piece lies. */
  text: string;
  fromUs: number;
  toUs: number;
  /** The clause ends with this piece. */
  last: boolean;
  words: readonly WordTiming[];
}

/** Watches the calls of one runtime: what is said, asked and timed goes to the trace, audio is known again by its bytes. */
export class Voices {
  readonly #trace: Trace;
  readonly #of = new WeakMap<Uint8Array, Voice>();

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  of(bytes: Uint8Array): Voice | null {
    return this.#of.get(bytes) ?? null;
  }

  /** @param lifeOf null for sessions that are of no interest. */
  watch(effect: () => boolean, crossed: () => void, lifeOf: (request: InvocationOpen) => LifeId | null): GatewayWatch {
    return {
      effect,
      crossed,
      opened: (request) => {
        const life = lifeOf(request);
        return life === null ? unwatched : this.#watched(life, request);
      },
    };
  }

  #watched(life: LifeId, { invocationId, modality, turn, attemptTimeoutMs }: InvocationOpen): InvocationWatch {
    const trace = this.#trace;
    const what = (step: "opened" | "pushed" | "first" | "cancelled" | "ended"): void =>
      trace.tell({ kind: "invocation", life, invocation: invocationId, modality, turn, what: step, attemptTimeoutMs });
    const clauses = new Map<number, { text: string; atUs: number; words: readonly WordTiming[] }>();
    let first = true;
    what("opened");
    return {
      pushed: (input) => {
        what("pushed");
        if (input.kind === "messages") trace.tell({ kind: "asked", life, turn, messages: input.messages });
        if (input.kind !== "text" || modality !== "tts") return;
        clauses.set(input.segment, { text: input.text, atUs: 0, words: [] });
        trace.tell({ kind: "spoken", life, turn, segment: input.segment, text: input.text });
      },
      chunk: (chunk) => {
        if (first) what("first");
        first = false;
        if (modality === "tool" && chunk?.kind === "text" && typeof chunk.text === "string")
          trace.tell({ kind: "tool_said", life, invocation: invocationId, text: chunk.text });
        if (chunk?.kind !== "audio" || !(chunk.bytes instanceof Uint8Array)) return;
        const { segment, durationUs, segmentEnd, words, format } = chunk;
        // What no runtime takes is not heard either.
        if (!Number.isSafeInteger(durationUs) || format === null) return;
        const clause = clauses.get(segment);
        if (clause === undefined) return;
        if (words !== undefined) clause.words = words;
        const fromUs = clause.atUs;
        clause.atUs += durationUs;
        const { text } = clause;
        const voice = { life, segment, text, fromUs, toUs: clause.atUs, last: segmentEnd, words: clause.words };
        this.#of.set(chunk.bytes, voice);
      },
      cancelled: () => what("cancelled"),
      ended: () => what("ended"),
    };
  }
}

const unwatched: InvocationWatch = { pushed: () => {}, chunk: () => {}, cancelled: () => {}, ended: () => {} };
