/** Anthropic's Messages API as its reference has it, streamed and whole. */
import { answerOf, bodyOf, piecesOf, speakEvents, speakWhole, unknownField, usage, wordsOf } from "../chat-answer.ts";
import type { Fake, FakeAnswer } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";

const key = "sk-ant-fake-key";
const versions = ["2023-06-01", "2026-10-21"];
/** Since the second of those they are refused. */
const sampling = ["temperature", "top_k", "top_p"];

const fields = [
  "model",
  "messages",
  "max_tokens",
  "system",
  "tools",
  "tool_choice",
  "temperature",
  "top_k",
  "top_p",
  "stop_sequences",
  "stream",
  "metadata",
  "thinking",
  "service_tier",
];

interface Block {
  type?: string;
  text?: string;
  id?: string;
  name?: string;
  input?: unknown;
  tool_use_id?: string;
}

interface Message {
  role?: string;
  content?: string | Block[];
}

export function startAnthropic(answer?: FakeAnswer): Promise<Fake> {
  return startFake({ key, ...(answer === undefined ? {} : { answer }), handlers: { http: serve } });
}

async function serve(exchange: FakeExchange): Promise<void> {
  const { request, url, fault } = exchange;
  const { headers } = request;
  const refuse = (status: number, type: string, message: string, more: Record<string, string> = {}): void =>
    exchange.json(
      status,
      { type: "error", error: { type, message }, request_id: "req_011" },
      { "request-id": "req_011", ...more },
    );
  if (request.method !== "POST" || url.pathname !== "/v1/messages") {
    exchange.violation(`no such endpoint: ${request.method} ${url.pathname}`);
    return refuse(404, "not_found_error", "Not found");
  }
  const shown = headers["x-api-key"] ?? headers.authorization?.replace(/^Bearer /, "");
  if (shown !== key || fault === "unauthorized") return refuse(401, "authentication_error", "invalid x-api-key");
  const version = String(headers["anthropic-version"]);
  if (!versions.includes(version)) {
    exchange.violation("the header anthropic-version is missing or unknown");
    return refuse(400, "invalid_request_error", "anthropic-version: header is required");
  }
  if (fault === "rate_limited")
    return refuse(429, "rate_limit_error", "This request would exceed your organization's rate limit", {
      "retry-after": "3",
      "anthropic-ratelimit-requests-limit": "50",
      "anthropic-ratelimit-requests-remaining": "0",
      "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:03Z",
    });
  if (fault === "server_error") return refuse(500, "api_error", "Internal server error");
  const body = bodyOf(exchange);
  const problem = body === undefined ? "The request body is not valid JSON" : problemOf(body, version);
  if (body === undefined || problem !== "") {
    exchange.violation(`messages: ${problem}`);
    return refuse(400, "invalid_request_error", problem);
  }
  Object.assign(exchange.call.facts, body);
  await speak(exchange, String(body.model), body.stream === true);
}

async function speak(exchange: FakeExchange, model: string, stream: boolean): Promise<void> {
  const { reply, calls } = answerOf(exchange);
  const stop_reason = calls.length > 0 ? "tool_use" : "end_turn";
  const head = { id: "msg_01Fake", type: "message", role: "assistant", model };
  const counted = { input_tokens: usage.input, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };
  if (!stream) {
    const blocks = calls.map((call, n) => {
      return { type: "tool_use", id: `toolu_${n}`, name: call.name, input: JSON.parse(call.arguments) as unknown };
    });
    const content = [...(reply === "" ? [] : [{ type: "text", text: reply, citations: null }]), ...blocks];
    const whole = { ...head, content, stop_reason, stop_sequence: null };
    return speakWhole(exchange, { ...whole, usage: { ...counted, output_tokens: usage.output } });
  }
  const message = { ...head, content: [], stop_reason: null, stop_sequence: null };
  const said = reply === "" ? [] : textEvents(0, reply);
  const delta = { stop_reason, stop_sequence: null };
  await speakEvents(exchange, {
    events: [
      event("message_start", { message: { ...message, usage: { ...counted, output_tokens: 1 } } }),
      ...said,
      event("ping", {}),
      ...calls.flatMap((call, n) => callEvents(n + (reply === "" ? 0 : 1), n, call)),
      event("message_delta", { delta, usage: { output_tokens: usage.output } }),
      event("message_stop", {}),
    ],
    late: event("content_block_delta", { index: 0, delta: { type: "text_delta", text: " and more" } }),
    garbage: "event: content_block_delta\ndata: {oops\n\n",
    keepAlive: event("ping", {}),
  });
}

const event = (type: string, rest: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;

function textEvents(index: number, reply: string): string[] {
  const delta = (text: string): string => event("content_block_delta", { index, delta: { type: "text_delta", text } });
  return [
    event("content_block_start", { index, content_block: { type: "text", text: "" } }),
    ...wordsOf(reply).map(delta),
    event("content_block_stop", { index }),
  ];
}

function callEvents(index: number, n: number, call: { name: string; arguments: string }): string[] {
  const block = { type: "tool_use", id: `toolu_${n}`, name: call.name, input: {} };
  const delta = (partial_json: string): string =>
    event("content_block_delta", { index, delta: { type: "input_json_delta", partial_json } });
  return [
    event("content_block_start", { index, content_block: block }),
    delta(""),
    ...piecesOf(call.arguments).map(delta),
    event("content_block_stop", { index }),
  ];
}

/** What the API refuses with 400; "" for nothing. */
function problemOf(body: Record<string, unknown>, version: string): string {
  const removed = version === "2023-06-01" ? undefined : sampling.find((name) => name in body);
  if (removed !== undefined) return `${removed}: not supported`;
  const unknown = unknownField(body, fields);
  if (unknown !== "") return `${unknown}: Extra inputs are not permitted`;
  if (typeof body.model !== "string" || body.model === "") return "model: Field required";
  if (!Number.isInteger(body.max_tokens) || Number(body.max_tokens) < 1) return "max_tokens: Field required";
  if (!Array.isArray(body.messages) || body.messages.length === 0) return "messages: at least one message is required";
  const { temperature } = body;
  if (temperature !== undefined && !(Number(temperature) >= 0 && Number(temperature) <= 1))
    return "temperature: range: 0..1";
  if (body.system === "") return "system: text content blocks must be non-empty";
  for (const tool of (body.tools ?? []) as { name?: string; input_schema?: { type?: string } }[]) {
    if (!/^[a-zA-Z0-9_-]{1,128}$/.test(tool.name ?? "")) return "tools.0.name: String should match pattern";
    if (tool.input_schema?.type !== "object") return "tools.0.input_schema.type: Field required";
  }
  return messagesProblem(body.messages as Message[]);
}

function messagesProblem(messages: readonly Message[]): string {
  let open = new Set<string>();
  for (const [at, { role, content }] of messages.entries()) {
    if (role !== "user" && role !== "assistant") return `messages.${at}.role: Input should be 'user' or 'assistant'`;
    if (at === 0 && role !== "user") return 'messages: first message must use the "user" role';
    const blocks = typeof content === "string" ? [{ type: "text", text: content }] : (content ?? []);
    if (blocks.length === 0) return `messages.${at}: all messages must have non-empty content`;
    const results = blocks.flatMap((block) => (block.type === "tool_result" ? [block.tool_use_id ?? ""] : []));
    if (results.some((id) => !open.has(id))) return `messages.${at}: unexpected \`tool_use_id\` found in tool_result`;
    if ([...open].some((id) => !results.includes(id)))
      return `messages.${at}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after`;
    open = new Set(blocks.flatMap((block) => (block.type === "tool_use" ? [block.id ?? ""] : [])));
    for (const block of blocks) {
      if (block.type === "text" && (block.text ?? "").trim() === "") return `messages.${at}: text must be non-empty`;
      if (block.type === "tool_use" && !/^[a-zA-Z0-9_-]+$/.test(block.id ?? ""))
        return `messages.${at}: bad tool_use.id`;
      if (block.type === "tool_use" && typeof block.input !== "object") return `messages.${at}: input: an object`;
    }
  }
  return open.size > 0 ? "messages: `tool_use` ids were found without `tool_result` blocks" : "";
}
