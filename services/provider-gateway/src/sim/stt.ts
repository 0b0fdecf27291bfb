import { sessionKey } from "@rspp/base/session-key";
import { respellings } from "@rspp/kernel/respell";
import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink } from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings, type SettingValues } from "../settings.ts";
import { Pace, simSpecs } from "./pace.ts";

const specs = {
  ...simSpecs,
  /** What will be said: one transcript an utterance, taken in order per session. */
  transcripts: { type: "strings", default: [] },
  /** How much audio brings the next word of a partial; 0: no partials. */
  word_ms: { type: "number", default: 300, min: 0, max: 60_000 },
  /** Words that are recognised in the very spelling given here. */
  key_terms: { type: "strings", default: [] },
  /** False: nothing is told before the final. */
  streaming: { type: "boolean", default: true },
} as const;

type Values = SettingValues<typeof specs>;
const sessionsMax = 10_000;
/** Under which partials come as ever. */
const speaksFirst: ReadonlySet<string> = new Set(["none", "chunk_after_terminal", "timeout_midway", "stall"]);

/**
 * `sim/stt`: knows what was said only from its settings. Partials come with the audio, the final `first_chunk_ms`
 * (and jitter) after finish. A transcript is used up when an utterance with audio is finished, not when it is cancelled.
 */
export function createSimStt(options: { clock: Clock }): ManagedProvider {
  const { clock } = options;
  const used = new Map<string, number>();
  return {
    name: "sim/stt",
    modality: "stt",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      return new SimRecognition(clock, request, sink, read.values, used);
    },
  };
}

class SimRecognition implements Invocation {
  readonly #sink: InvocationSink;
  readonly #attempt: Attempt;
  readonly #pace: Pace;
  readonly #values: Values;
  readonly #session: string;
  readonly #used: Map<string, number>;
  #audioUs = 0;
  #shown = 0;
  #revision = 0;
  #finished = false;

  constructor(clock: Clock, request: InvocationOpen, sink: InvocationSink, values: Values, used: Map<string, number>) {
    this.#sink = sink;
    this.#attempt = new Attempt(sink);
    this.#pace = new Pace(clock, this.#attempt, request, values);
    this.#values = values;
    this.#session = sessionKey({ tenantId: request.tenantId ?? "", sessionId: request.sessionId });
    this.#used = used;
  }

  push(input: InvocationInput): void {
    if (input.kind !== "audio" || this.#attempt.done || this.#finished) return;
    this.#audioUs += input.durationUs;
    if (this.#values.word_ms === 0 || !this.#pace.streaming || !speaksFirst.has(this.#pace.fault)) return;
    const words = this.#transcript().split(" ");
    const heard = Math.min(Math.floor(this.#audioUs / 1000 / this.#values.word_ms), words.length - 1);
    if (heard <= this.#shown) return;
    this.#shown = heard;
    this.#text(words.slice(0, heard).join(" "), false);
  }

  finish(): void {
    if (this.#finished || this.#attempt.done) return;
    this.#finished = true;
    if (this.#audioUs === 0) {
      this.#pace.after(0, () => this.#attempt.end("empty", "finished without audio"));
      return;
    }
    const text = this.#transcript();
    this.#take();
    if (this.#pace.failsAtOnce()) return;
    this.#pace.after(0, () => this.#conclude(text));
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  #conclude(text: string): void {
    if (this.#pace.breaksOff()) return;
    if (text === "" || this.#pace.fault === "silent_audio") {
      this.#attempt.end("empty", "no transcript left in setting `transcripts`");
    } else {
      this.#text(text, true);
      this.#attempt.end("success", "", { audioUs: this.#audioUs });
    }
    if (this.#pace.fault === "chunk_after_terminal") this.#text(text, true);
  }

  #text(text: string, final: boolean): void {
    const chunk = { kind: "text", text, segment: 0, revision: this.#revision++, final, confidence: 1 } as const;
    if (this.#pace.fault === "none") this.#attempt.chunk(chunk);
    else this.#sink.chunk(chunk);
  }

  #transcript(): string {
    const said = this.#values.transcripts[this.#used.get(this.#session) ?? 0] ?? "";
    const terms = this.#values.key_terms;
    const found = respellings(said, terms);
    let text = "";
    let at = 0;
    for (let i = 0; i < found.length; i += 3) {
      text += said.slice(at, found[i]) + (terms[found[i + 2] ?? 0] ?? "");
      at = found[i + 1] ?? at;
    }
    return text + said.slice(at);
  }

  #take(): void {
    const next = (this.#used.get(this.#session) ?? 0) + 1;
    this.#used.delete(this.#session);
    this.#used.set(this.#session, next);
    if (this.#used.size > sessionsMax) {
      for (const oldest of this.#used.keys()) {
        this.#used.delete(oldest);
        break;
      }
    }
  }
}
