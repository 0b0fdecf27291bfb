import type { DurableState } from "@rspp/kernel/durable-state";
import type { TextSpan } from "@rspp/kernel/event";
import { expect, test } from "vitest";
import { limits } from "../limits.ts";
import { decodeDurable, encodeDurable } from "./document.ts";

const texts = new Map<number, string>();
const span = (text: string): TextSpan => {
  texts.set(texts.size + 1, text);
  return { ref: texts.size, from: 0, to: text.length };
};
const join = (spans: readonly TextSpan[]): string =>
  spans.map(({ ref, from, to }) => (texts.get(ref) ?? "").slice(from, to)).join("");

function state(over: Partial<DurableState> = {}): DurableState {
  const call = { callId: "c", name: "book", arguments: span("{}"), result: null, invocation: 7 };
  return {
    lastTurn: 2,
    conversation: [
      { role: "user", turn: 1, spans: [span("hello"), span(" there")], chars: 11 },
      { role: "tools", turn: 1, spans: [call.arguments], chars: 2, exchanges: [call] },
    ],
    summary: [span("earlier")],
    replies: [{ turn: 2, clauses: [{ spans: [span("Yes.")], chars: 4, durationUs: 100, words: null }] }],
    ...{ prompted: 1, maxCallLeftMs: 5_000, audioThrough: 40, controlThrough: 3, keys: ["k"], language: "en" },
    ...over,
  };
}

/** With texts in the place of spans. */
function shown({ durable, texts: own }: { durable: DurableState; texts: Readonly<Record<number, string>> }) {
  const text = (spans: readonly TextSpan[]): string => spans.map(({ ref }) => own[ref] ?? "?").join("");
  return {
    conversation: durable.conversation.map(({ role, spans }) => [role, text(spans)]),
    summary: text(durable.summary),
    replies: durable.replies.map(({ clauses }) => clauses.map(({ spans }) => text(spans))),
  };
}

test("F-155 what is kept holds the words themselves and is read again with refs of its own", () => {
  const read = decodeDurable(encodeDurable(state(), 1_000, join), 500);
  if (!read.ok) throw new Error(read.error);
  expect(read.value.durable).toMatchObject({ lastTurn: 2, prompted: 1, maxCallLeftMs: 5_000, audioThrough: 40 });
  expect(Math.min(...Object.keys(read.value.texts).map(Number))).toBe(500);
  expect(shown(read.value)).toEqual({
    conversation: [
      ["user", "hello there"],
      ["tools", "{}"],
    ],
    summary: "earlier",
    replies: [["Yes."]],
  });
  // A call whose work went with its runtime is nobody's to answer.
  expect(read.value.durable.conversation[1]?.exchanges).toMatchObject([{ invocation: 0, result: null }]);
});

test("it is bounded: what was said longest ago is left out; what cannot be read is refused", () => {
  const long = Array.from({ length: 200 }, (_, turn) => {
    const spans = [span("x".repeat(8_000))];
    return { role: "user" as const, turn, spans, chars: 8_000 };
  });
  const bytes = encodeDurable(state({ conversation: long }), 0, join);
  expect(bytes.length).toBeLessThanOrEqual(limits.STATE_BYTES_MAX);
  const read = decodeDurable(bytes, 1);
  expect(read.ok && read.value.durable.conversation.at(-1)?.turn).toBe(199);
  for (const wrong of ["", "{}", '{"conversation":[],"replies":[],"lastTurn":"x"}'])
    expect(decodeDurable(new TextEncoder().encode(wrong), 1)).toEqual({ ok: false, error: "unreadable" });
});
