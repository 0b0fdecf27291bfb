/** The durable state of a session as it is kept (kernel.md §8; F-155): texts in the place of handles, and back. */
import { err, ok, type Result } from "@rspp/base/result";
import type { DurableClause, DurableReply, DurableState } from "@rspp/kernel/durable-state";
import type { TextSpan } from "@rspp/kernel/event";
import type { ConversationPart, ToolExchange } from "@rspp/kernel/tool-state";
import { limits } from "../limits.ts";

export const DURABLE_KEY = "session";
export const DURABLE_SCHEMA = "session/1";

/** As JSON. Texts are the caller's and the agent's own words. */
interface Document {
  readonly wallMs: number;
  readonly lastTurn: number;
  readonly conversation: readonly PartDocument[];
  /** Oldest parts that were left out, since the state is bounded. */
  readonly left: number;
  readonly summary: string;
  readonly replies: readonly { readonly turn: number; readonly clauses: readonly ClauseDocument[] }[];
  readonly prompted: number;
  readonly maxCallLeftMs: number;
  readonly audioThrough: number;
  readonly controlThrough: number;
  readonly keys: readonly string[];
  readonly language: string;
}

interface PartDocument {
  readonly role: ConversationPart["role"];
  readonly turn: number;
  readonly text: string;
  readonly exchanges?: readonly { callId: string; name: string; arguments: string; result: string | null }[];
}

interface ClauseDocument {
  readonly text: string;
  readonly durationUs: number;
  readonly words: DurableClause["words"];
}

const encoder = new TextEncoder();

/** @returns at most STATE_BYTES_MAX bytes: what was said longest ago is left out first. */
export function encodeDurable(
  state: DurableState,
  wallMs: number,
  text: (spans: readonly TextSpan[]) => string,
): Uint8Array {
  const part = ({ role, turn, spans, exchanges }: ConversationPart): PartDocument => ({
    role,
    turn,
    text: role === "tools" ? "" : text(spans),
    ...(exchanges === undefined ? {} : { exchanges: exchanges.map((one) => exchangeOf(one, text)) }),
  });
  const clause = ({ spans, durationUs, words }: DurableClause): ClauseDocument => ({
    text: text(spans),
    durationUs,
    words,
  });
  const whole: Document = {
    ...state,
    wallMs,
    conversation: state.conversation.map(part),
    left: 0,
    summary: text(state.summary),
    replies: state.replies.map(({ turn, clauses }) => ({ turn, clauses: clauses.map(clause) })),
  };
  const bytes = encoder.encode(JSON.stringify(whole));
  if (bytes.length <= limits.STATE_BYTES_MAX) return bytes;
  let over = bytes.length - limits.STATE_BYTES_MAX;
  let left = 0;
  for (; left < whole.conversation.length && over > 0; left++)
    over -= encoder.encode(JSON.stringify(whole.conversation[left])).length;
  return encoder.encode(JSON.stringify({ ...whole, conversation: whole.conversation.slice(left), left }));
}

function exchangeOf({ callId, name, arguments: args, result }: ToolExchange, text: (s: readonly TextSpan[]) => string) {
  return { callId, name, arguments: text([args]), result: result === null ? null : text([result]) };
}

export interface DecodedState {
  readonly durable: DurableState;
  /** What the shell registers before the session starts, by ref. */
  readonly texts: Readonly<Record<number, string>>;
  /** When it was written, milliseconds since 1970 UTC. */
  readonly wallMs: number;
}

/** @param firstRef of the payloads that its texts become; refs rise from there. `err`: it is not what this build writes. */
export function decodeDurable(bytes: Uint8Array, firstRef: number): Result<DecodedState, "unreadable"> {
  try {
    return ok(read(JSON.parse(new TextDecoder().decode(bytes)) as Document, firstRef));
  } catch {
    return err("unreadable");
  }
}

function read(found: Document, firstRef: number): DecodedState {
  const texts: Record<number, string> = {};
  let ref = firstRef;
  const spanOf = (text: string): TextSpan => {
    const span = { ref, from: 0, to: text.length };
    texts[ref] = text;
    ref += 1;
    return span;
  };
  const spansOf = (text: string): TextSpan[] => (text === "" ? [] : [spanOf(text)]);
  const conversation = found.conversation.map((part) => partOf(part, spanOf));
  const replies = found.replies.map(
    ({ turn, clauses }): DurableReply => ({
      turn,
      clauses: clauses.map(({ text, durationUs, words }) => ({
        spans: spansOf(text),
        chars: text.length,
        durationUs,
        words,
      })),
    }),
  );
  const { lastTurn, prompted, maxCallLeftMs, audioThrough, controlThrough, keys, language, wallMs } = found;
  const numbers = [lastTurn, prompted, maxCallLeftMs, audioThrough, controlThrough, wallMs];
  if (!numbers.every(Number.isSafeInteger) || !Array.isArray(keys) || typeof language !== "string")
    throw new TypeError();
  const summary = spansOf(found.summary);
  const durable = {
    ...{ lastTurn, conversation, summary, replies, prompted, maxCallLeftMs },
    ...{ audioThrough, controlThrough, keys: keys.map(String), language },
  };
  return { durable, texts, wallMs };
}

function partOf({ role, turn, text, exchanges }: PartDocument, spanOf: (text: string) => TextSpan): ConversationPart {
  if (role !== "tools") return { role, turn, spans: [spanOf(text)], chars: text.length };
  const told = (exchanges ?? []).map(({ callId, name, arguments: args, result }) => ({
    callId,
    name,
    arguments: spanOf(args),
    result: result === null ? null : spanOf(result),
    invocation: 0,
  }));
  const spans = told.flatMap((one) => (one.result === null ? [one.arguments] : [one.arguments, one.result]));
  return { role, turn, spans, chars: spans.reduce((sum, { to }) => sum + to, 0), exchanges: told };
}
