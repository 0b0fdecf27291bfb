/** What the fakes of language models have in common: an answer in events or whole, and how it fails on its way. */
import type { FakeExchange } from "./server.ts";

export const usage = { input: 11, output: 7 } as const;

/** As models say it: a word at a time, with what stands before it. */
export function wordsOf(text: string): string[] {
  return text.match(/\s*\S+\s*?/gu) ?? [];
}

/** Arguments in pieces, as models write them. */
export function piecesOf(json: string): string[] {
  return json.match(/[\s\S]{1,7}/gu) ?? [];
}

/** The reply and the calls under the fault of this exchange. */
export function answerOf({ fault, answer }: FakeExchange): {
  reply: string;
  calls: readonly { name: string; arguments: string }[];
} {
  if (fault === "empty" || fault === "silent_audio") return { reply: "", calls: [] };
  return { reply: answer.reply ?? "Good day.", calls: answer.toolCalls ?? [] };
}

export interface Events {
  /** Framed, in order. */
  readonly events: readonly string[];
  /** Said after the end by a server that does not know when to stop. */
  readonly late: string;
  readonly garbage: string;
  /** What keeps a connection alive that says nothing. */
  readonly keepAlive: string;
}

/** Server-sent events, failing in the middle as told. */
export async function speakEvents(exchange: FakeExchange, { events, late, garbage, keepAlive }: Events): Promise<void> {
  const { fault, answer, response } = exchange;
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
  response.flushHeaders();
  if (fault === "garbage") {
    await exchange.write(garbage);
    response.end();
    return;
  }
  const middle = Math.max(1, Math.floor(events.length / 2));
  for (const [at, event] of events.entries()) {
    if (at > 0 && !(await exchange.pause(answer.chunkMs ?? 0))) return;
    if (at === middle && (fault === "timeout_midway" || fault === "stall")) return silence(exchange, keepAlive);
    if (at === middle && fault === "disconnect") {
      await exchange.write(event.slice(0, event.length / 2));
      return exchange.cut();
    }
    if (!(await exchange.write(event))) return;
  }
  for (let more = 0; fault === "late_data" && more < 20; more++) {
    if (!(await exchange.pause(10)) || !(await exchange.write(late))) return;
  }
  response.end();
}

async function silence(exchange: FakeExchange, keepAlive: string): Promise<void> {
  if (exchange.fault === "stall" && keepAlive !== "")
    while (await exchange.pause(20)) if (!(await exchange.write(keepAlive))) return;
  await exchange.hold();
}

/** One answer as JSON, failing in the middle as told. */
export async function speakWhole(exchange: FakeExchange, value: unknown): Promise<void> {
  const { fault, answer, response } = exchange;
  if (!(await exchange.pause((answer.chunkMs ?? 0) * 4))) return;
  if (fault === "garbage") {
    response.writeHead(200, { "content-type": "application/json" });
    response.end("<html>oops</html>");
    return;
  }
  const body = JSON.stringify(value);
  response.writeHead(200, { "content-type": "application/json" });
  if (fault === "disconnect" || fault === "timeout_midway" || fault === "stall") {
    await exchange.write(body.slice(0, body.length / 2));
    if (fault === "disconnect") return exchange.cut();
    return exchange.hold();
  }
  await exchange.write(body);
  response.end();
}

/** The body as an object; undefined for none. */
export function bodyOf({ body }: FakeExchange): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(body.toString("utf8")) as unknown;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** The first field that is none of those known; "" for none. */
export function unknownField(value: object, known: readonly string[]): string {
  return Object.keys(value).find((name) => !known.includes(name)) ?? "";
}
