/** The texts of a pipeline as a session has them: payloads with refs of their own, which its plans name (`kernel.md` §3). */
import type { TextSpan } from "@rspp/kernel/event";
import type { CompiledPipeline } from "./compiled.ts";

export interface SessionTexts {
  /** For `SessionOptions`. */
  readonly systemPrompt: readonly TextSpan[];
  readonly spoken?: Readonly<Record<string, readonly TextSpan[]>>;
  /** What the shell registers before the session starts, by ref. */
  readonly texts: Readonly<Record<number, string>>;
  /** Said when the caller is there. */
  readonly greeting?: string;
}

export function sessionTexts(pipeline: Pick<CompiledPipeline, "systemPrompt" | "spoken" | "greeting">): SessionTexts {
  const texts: Record<number, string> = {};
  // Refs of texts begin at 1; an empty one has no payload.
  let next = 1;
  const register = (text: string): readonly TextSpan[] => {
    if (text === "") return [];
    const ref = next;
    next += 1;
    texts[ref] = text;
    return [{ ref, from: 0, to: text.length }];
  };
  const systemPrompt = register(pipeline.systemPrompt ?? "");
  const spoken: Record<string, readonly TextSpan[]> = {};
  for (const [name, text] of Object.entries(pipeline.spoken ?? {})) {
    const spans = register(text);
    if (spans.length > 0) spoken[name] = spans;
  }
  return {
    systemPrompt,
    texts,
    ...(pipeline.spoken === undefined ? {} : { spoken }),
    ...(pipeline.greeting === undefined ? {} : { greeting: pipeline.greeting }),
  };
}
