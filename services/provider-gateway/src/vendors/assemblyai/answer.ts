/** What AssemblyAI says of words and of failures, live and recorded. */
import { type Failure, failureOfStatus } from "../stt/failure.ts";
import type { SpokenWord } from "../stt/heard.ts";

export interface AssemblyAiWord {
  readonly text: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly confidence: number;
}

/** Undefined: it is not what the documentation says. */
export function wordsOf(value: unknown): AssemblyAiWord[] | undefined {
  if (value === null || value === undefined) return [];
  if (!Array.isArray(value)) return undefined;
  const words: AssemblyAiWord[] = [];
  for (const one of value as unknown[]) {
    const { text, start, end, confidence } = (one ?? {}) as Record<string, unknown>;
    if (typeof text !== "string") return undefined;
    words.push({ text, startMs: Number(start), endMs: Number(end), confidence: Number(confidence) });
  }
  return words;
}

export function spokenOf(words: readonly AssemblyAiWord[]): SpokenWord[] {
  return words.map(({ text, startMs, endMs }) => ({ text, startUs: startMs * 1_000, endUs: endMs * 1_000 }));
}

/** Of the words, which is all that is told of a turn's. */
export function meanConfidence(words: readonly AssemblyAiWord[]): number | undefined {
  if (words.length === 0) return undefined;
  return words.reduce((sum, { confidence }) => sum + confidence, 0) / words.length;
}

const quota: Failure = { kind: "overload", detail: "quota: the account's means are used up" };
const limited: Failure = { kind: "overload", detail: "rate_limited: too many sessions or too much audio at once" };
const refused: Failure = { kind: "error", detail: "the endpoint refused the session's settings or audio" };
const expired: Failure = { kind: "error", detail: "the endpoint ended the session: it lasted or idled too long" };

/** By the code of an `Error` message or of a close frame; what the vendor says besides is only looked at. */
export function failureOfCode(code: number, said: string): Failure {
  if (/balance|funds|credit card|billing|quota/i.test(said)) return quota;
  switch (code) {
    case 1008:
      return /concurrent|too many|rate/i.test(said) ? limited : failureOfStatus(401);
    case 4001:
      return failureOfStatus(401);
    case 4002:
    case 4003:
      return quota;
    case 3009:
    case 4029:
    case 4102:
      return limited;
    case 3006:
    case 3007:
    case 4000:
    case 4032:
    case 4033:
    case 4034:
    case 4101:
      return refused;
    case 3008:
    case 4008:
    case 4031:
      return expired;
    case 1013:
      return { kind: "overload", detail: "the endpoint is overloaded" };
    case 3005:
    case 1011:
      return { kind: "error", detail: "the endpoint failed" };
    default:
      return { kind: "disconnect", detail: "the endpoint closed the connection before the end" };
  }
}

/** Of a body that refuses a request. */
export function saysQuota(body: string): boolean {
  return /balance|funds|credit|billing|quota/i.test(body);
}
