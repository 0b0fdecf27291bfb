/** Cohere's Chat API, version 2, as its reference has it, streamed and whole. */
import { answerOf, bodyOf, piecesOf, speakEvents, speakWhole, unknownField, usage, wordsOf } from "../chat-answer.ts";
import type { Fake, FakeAnswer } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";

const key = "co-fake-key";

const fields = [
  "model",
  "messages",
  "tools",
  "strict_tools",
  "documents",
  "citation_options",
  "response_format",
  "safety_mode",
  "max_tokens",
  "stop_sequences",
  "temperature",
  "seed",
  "frequency_penalty",
  "presence_penalty",
  "k",
  "p",
  "logprobs",
  "tool_choice",
  "thinking",
  "priority",
  "stream",
];

interface Message {
  role?: string;
  content?: unknown;
  tool_call_id?: string;
  tool_calls?: { id?: string; type?: string; function?: { name?: string; arguments?: string } }[];
}

export function startCohere(answer?: FakeAnswer): Promise<Fake> {
  return startFake({ key, ...(answer === undefined ? {} : { answer }), handlers: { http: serve } });
}

async function serve(exchange: FakeExchange): Promise<void> {
  const { request, url, fault } = exchange;
  const refuse = (status: number, message: string, headers: Record<string, string> = {}): void =>
    exchange.json(status, { id: "5f3e", message }, headers);
  if (request.method !== "POST" || url.pathname !== "/v2/chat") {
    exchange.violation(`no such endpoint: ${request.method} ${url.pathname}`);
    return refuse(404, "not found");
  }
  const shown = request.headers.authorization?.replace(/^bearer /i, "");
  if (shown !== key || fault === "unauthorized") return refuse(401, "invalid api token");
  if (fault === "rate_limited")
    return refuse(429, "You are past the per minute request limit, please wait and try again later.", {
      "x-endpoint-monthly-call-limit": "1000",
      "x-trial-endpoint-call-limit": "20",
      "x-trial-endpoint-call-remaining": "0",
    });
  if (fault === "server_error") return refuse(500, "internal server error, please report this");
  const body = bodyOf(exchange);
  const problem = body === undefined ? "invalid request: body is not JSON" : problemOf(body);
  if (body === undefined || problem !== "") {
    exchange.violation(`chat: ${problem}`);
    return refuse(400, problem);
  }
  Object.assign(exchange.call.facts, body);
  await speak(exchange, body.stream === true);
}

async function speak(exchange: FakeExchange, stream: boolean): Promise<void> {
  const { reply, calls } = answerOf(exchange);
  const finish_reason = calls.length > 0 ? "TOOL_CALL" : "COMPLETE";
  const counts = { input_tokens: usage.input, output_tokens: usage.output };
  const counted = { billed_units: { input_tokens: 4, output_tokens: usage.output }, tokens: counts, cached_tokens: 0 };
  if (!stream) {
    const called = calls.map((call, n) => ({ id: `${call.name}_${n}x`, type: "function", function: call }));
    const message = {
      role: "assistant",
      ...(called.length === 0 ? {} : { tool_plan: "I will look.", tool_calls: called }),
      ...(reply === "" ? {} : { content: [{ type: "text", text: reply }] }),
    };
    return speakWhole(exchange, { id: "c14c80c3", finish_reason, message, usage: counted });
  }
  const content = (text: string): object => ({ message: { content: { type: "text", text } } });
  const start = { role: "assistant", content: [], tool_plan: "", tool_calls: [], citations: [] };
  const spoken = [
    event("content-start", { index: 0, delta: content("") }),
    ...wordsOf(reply).map((text) => event("content-delta", { index: 0, delta: { message: { content: { text } } } })),
    event("content-end", { index: 0 }),
  ];
  await speakEvents(exchange, {
    events: [
      event("message-start", { id: "29f14a5a", delta: { message: start } }),
      ...(calls.length > 0 ? [event("tool-plan-delta", { delta: { message: { tool_plan: "I will look." } } })] : []),
      ...(calls.length > 0 && reply === "" ? [] : spoken),
      ...calls.flatMap((call, index) => callEvents(index, call)),
      event("message-end", { delta: { finish_reason, usage: counted } }),
      "data: [DONE]\n\n",
    ],
    late: event("content-delta", { index: 0, delta: { message: { content: { text: " and more" } } } }),
    garbage: "event: content-delta\ndata: {oops\n\n",
    keepAlive: "",
  });
}

const event = (type: string, rest: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;

function callEvents(index: number, { name, arguments: args }: { name: string; arguments: string }): string[] {
  const call = { id: `${name}_${index}x`, type: "function", function: { name, arguments: "" } };
  const delta = (piece: string): string =>
    event("tool-call-delta", { index, delta: { message: { tool_calls: { function: { arguments: piece } } } } });
  return [
    event("tool-call-start", { index, delta: { message: { tool_calls: call } } }),
    ...piecesOf(args).map(delta),
    event("tool-call-end", { index }),
  ];
}

/** What the API refuses with 400 or 422; "" for nothing. */
function problemOf(body: Record<string, unknown>): string {
  const unknown = unknownField(body, fields);
  if (unknown !== "") return `invalid request: unknown field ${unknown}`;
  if (typeof body.model !== "string" || body.model === "") return "invalid request: model is required";
  if (!Array.isArray(body.messages) || body.messages.length === 0) return "invalid request: messages must not be empty";
  if (typeof body.stream !== "boolean") return "invalid request: stream is required";
  const { temperature, stop_sequences } = body;
  if (temperature !== undefined && !(Number(temperature) >= 0 && Number(temperature) <= 1))
    return "invalid request: temperature must be between 0 and 1.0 inclusive";
  if (Array.isArray(stop_sequences) && stop_sequences.length > 5) return "invalid request: at most 5 stop sequences";
  for (const tool of (body.tools ?? []) as { type?: string; function?: { name?: string; parameters?: unknown } }[])
    if (tool.type !== "function" || typeof tool.function?.parameters !== "object") return "invalid request: tools";
  return messagesProblem(body.messages as Message[]);
}

function messagesProblem(messages: readonly Message[]): string {
  let open = new Set<string>();
  for (const [at, { role, content, tool_calls = [], tool_call_id = "" }] of messages.entries()) {
    if (role === "tool") {
      if (!open.delete(tool_call_id)) return `invalid request: message ${at}: tool_call_id is of no tool call`;
      continue;
    }
    if (open.size > 0) return `invalid request: message ${at}: tool results must follow tool calls`;
    if (role !== "system" && role !== "user" && role !== "assistant") return `invalid request: role of message ${at}`;
    open = new Set(tool_calls.map(({ id = "" }) => id));
    const empty = content === undefined || content === "" || (Array.isArray(content) && content.length === 0);
    if (empty && open.size === 0) return "message must not be empty in a turn";
  }
  return "";
}
