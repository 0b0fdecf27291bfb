/**
 * Tool calls of a model that is none: which words of the caller call which tool, and what is said of a result. For
 * the local responder and the simulated model, so that tools work offline and in tests.
 */
import type { ChatMessage, ToolCall, ToolOffer } from "@rspp/ports/provider";

export const toolScriptSpecs = {
  /**
   * `words => tool {"argument": "$1"}`: called when the caller says the words; a `*` in them stands for any, `$1` for what it
   * stood for. Without `words =>` it is called at once. All that fit are called.
   */
  tool_calls: { type: "strings", default: [] },
  /** `tool => what is said`, with `{field.of.result}` in it; `tool! => …` when it failed. Default: the result's text. */
  tool_answers: { type: "strings", default: [] },
} as const;

export interface ToolScript {
  readonly tool_calls: readonly string[];
  readonly tool_answers: readonly string[];
}

const FAILED = "Sorry, that did not work.";

/** What follows the caller's last words: answers that called tools, and their results. */
function sinceCaller(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  return messages.slice(messages.findLastIndex(({ role }) => role === "user") + 1);
}

/** Answers with calls since the caller's last words. */
export function roundsSoFar(messages: readonly ChatMessage[]): number {
  return sinceCaller(messages).filter(({ toolCalls }) => toolCalls !== undefined).length;
}

/** The calls that the caller's last words ask for, of the tools that are offered. */
export function scriptedCalls(
  { tool_calls }: ToolScript,
  messages: readonly ChatMessage[],
  tools: readonly ToolOffer[],
  idPrefix: string,
): ToolCall[] {
  const said = plain(messages.findLast(({ role }) => role === "user")?.text ?? "");
  const calls: ToolCall[] = [];
  for (const line of tool_calls) {
    const arrow = line.indexOf("=>");
    const caught = arrow === -1 ? "" : match(said, line.slice(0, arrow));
    const [, name = "", args = ""] = /^\s*(\S+)\s*([\s\S]*)$/.exec(line.slice(arrow === -1 ? 0 : arrow + 2)) ?? [];
    if (caught === undefined || !tools.some((tool) => tool.name === name)) continue;
    const filled = args.replaceAll("$1", JSON.stringify(caught).slice(1, -1));
    calls.push({ callId: `${idPrefix}_${calls.length + 1}`, name, arguments: filled.trim() || "{}" });
  }
  return calls;
}

/** What is said of the results that came since the caller's last words; undefined where there are none. */
export function scriptedAnswer(script: ToolScript, messages: readonly ChatMessage[]): string | undefined {
  const since = sinceCaller(messages);
  if (!since.some(({ role }) => role === "tool")) return undefined;
  const names = new Map(since.flatMap(({ toolCalls = [] }) => toolCalls.map(({ callId, name }) => [callId, name])));
  const said = since.flatMap(({ role, callId = "", text }) =>
    role === "tool" ? [told(script, names.get(callId) ?? "", text)] : [],
  );
  return said.join(" ");
}

function told({ tool_answers }: ToolScript, tool: string, text: string): string {
  const result = parsed(text);
  const failed = typeof result === "object" && result !== null && "error" in result;
  const wanted = failed ? `${tool}!` : tool;
  const line = tool_answers.find((entry) => entry.split("=>")[0]?.trim() === wanted);
  if (line === undefined) return failed ? FAILED : plainText(result, text);
  return line
    .slice(line.indexOf("=>") + 2)
    .trim()
    .replace(/\{([\w.]*)\}/g, (_, path: string) => field(result, path, text));
}

function plainText(result: unknown, text: string): string {
  return typeof result === "string" ? result : text;
}

function field(result: unknown, path: string, text: string): string {
  if (path === "") return plainText(result, text);
  let value = result;
  for (const key of path.split(".")) {
    const known = typeof value === "object" && value !== null && Object.hasOwn(value, key);
    value = known ? (value as Record<string, unknown>)[key] : undefined;
  }
  return typeof value === "object" || value === undefined ? "" : String(value);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}' *-]+/gu, " ")
    .replace(/\s+/g, " ")
    .trim();
}

/** What the `*` of the pattern stands for ("" where it has none); undefined where the words are not said. */
function match(said: string, pattern: string): string | undefined {
  const [before = "", after] = plain(pattern).split("*");
  const at = said.indexOf(before.trim());
  if (at === -1) return undefined;
  if (after === undefined) return "";
  const rest = said.slice(at + before.trim().length);
  const end = after.trim() === "" ? rest.length : rest.indexOf(after.trim());
  return end === -1 ? undefined : rest.slice(0, end).trim();
}
