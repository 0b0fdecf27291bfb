/** What both of Deepgram's interfaces say of one alternative. */
import type { OutcomeKind } from "@rspp/ports/provider";
import type { Failure } from "../stt/failure.ts";
import { type Heard, heardOf, type SpokenWord } from "../stt/heard.ts";

interface Alternative {
  readonly transcript?: string | undefined;
  readonly confidence?: number | undefined;
  readonly languages?: readonly string[] | undefined;
  readonly words?:
    | readonly {
        readonly word?: string | undefined;
        readonly punctuated_word?: string | undefined;
        readonly start?: number | undefined;
        readonly end?: number | undefined;
      }[]
    | undefined;
}

/** Undefined: it is not what the documentation says. */
export function heardFrom(
  alternative: unknown,
  told: { final: boolean; endpoint?: boolean; language?: string | undefined },
): Heard | undefined {
  if (typeof alternative !== "object" || alternative === null) return undefined;
  const { transcript, confidence, languages, words } = alternative as Alternative;
  if (typeof transcript !== "string" || (words !== undefined && !Array.isArray(words))) return undefined;
  const spoken = (words ?? []).map(
    ({ word = "", punctuated_word = word, start = Number.NaN, end = Number.NaN }): SpokenWord => ({
      text: punctuated_word,
      startUs: start * 1e6,
      endUs: end * 1e6,
    }),
  );
  const language = told.language ?? languages?.[0];
  return heardOf(transcript, told.final, { confidence, language, words: spoken, endpoint: told.endpoint });
}

/** Quota is a 402, or a 429 whose body says so. */
export function saysQuota(body: string): boolean {
  return /PAYMENT|INSUFFICIENT|QUOTA|credits/i.test(body);
}

/** A close frame that ends a live connection before its results were complete. */
export function failureOfClose(code: number, reason: string): Failure {
  const failed = (kind: OutcomeKind, detail: string): Failure => ({ kind, detail });
  if (reason.startsWith("NET-0001")) return failed("timeout", "the endpoint got no audio in time");
  if (reason.startsWith("NET-0000")) return failed("timeout", "the endpoint could not answer in time");
  if (reason.startsWith("DATA-0000") || code === 1008) return failed("error", "the endpoint refused the audio");
  if (code === 1011) return failed("error", "the endpoint failed");
  if (code === 1013) return failed("overload", "the endpoint is overloaded");
  return failed("disconnect", "the endpoint closed the connection before the end");
}
