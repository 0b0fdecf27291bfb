/** OpenAI's chat completions as its API reference has them, streamed and whole. */
import { answerOf, bodyOf, piecesOf, speakEvents, speakWhole, unknownField, usage, wordsOf } from "../chat-answer.ts";
import type { FakeExchange } from "../server.ts";

const fields = [
  "model",
  "messages",
  "tools",
  "tool_choice",
  "parallel_tool_calls",
  "temperature",
  "top_p",
  "max_tokens",
  "max_completion_tokens",
  "stop",
  "stream",
  "stream_options",
  "reasoning_effort",
  "response_format",
  "seed",
  "user",
  "n",
  "presence_penalty",
  "frequency_penalty",
  "metadata",
  "store",
];

interface Message {
  role?: string;
  content?: unknown;
  tool_call_id?: string;
  tool_calls?: { id?: string; type?: string; function?: { name?: string; arguments?: string } }[];
}

export async function openAiChat(exchange: FakeExchange): Promise<void> {
  const body = bodyOf(exchange);
  const problem = body === undefined ? "We could not parse the JSON body of your request." : problemOf(body);
  if (body === undefined || problem !== "") {
    exchange.violation(`chat completions: ${problem}`);
    const error = { message: problem, type: "invalid_request_error", param: null, code: null };
    return exchange.json(400, { error });
  }
  const { model, tools, stream = false } = body;
  Object.assign(exchange.call.facts, body);
  const head = {
    id: "chatcmpl-9Zx",
    created: 1_770_000_000,
    model,
    system_fingerprint: "fp_1",
    service_tier: "default",
  };
  const { reply, calls } = answerOf(exchange);
  const finish = calls.length > 0 ? "tool_calls" : "stop";
  const counted = {
    prompt_tokens: usage.input,
    completion_tokens: usage.output,
    total_tokens: usage.input + usage.output,
  };
  if (calls.length > 0 && tools === undefined) exchange.violation("tool calls were scripted, but no tools offered");
  if (stream !== true) {
    const called = calls.map((call, n) => ({ id: `call_${n}aB`, type: "function", function: call }));
    const message = {
      role: "assistant",
      content: reply === "" ? null : reply,
      refusal: null,
      annotations: [],
      ...(called.length === 0 ? {} : { tool_calls: called }),
    };
    const choices = [{ index: 0, message, logprobs: null, finish_reason: finish }];
    return speakWhole(exchange, { ...head, object: "chat.completion", choices, usage: counted });
  }
  const chunk = (delta: object, finish_reason: string | null = null): string => {
    const choices = [{ index: 0, delta, logprobs: null, finish_reason }];
    return `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices, usage: null })}\n\n`;
  };
  const last = `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices: [], usage: counted })}\n\n`;
  const wantsUsage = (body.stream_options as { include_usage?: boolean } | undefined)?.include_usage === true;
  await speakEvents(exchange, {
    events: [
      chunk({ role: "assistant", content: calls.length > 0 ? null : "", refusal: null }),
      ...wordsOf(reply).map((content) => chunk({ content })),
      ...calls.flatMap((call, index) => callEvents(call, index).map((tool_calls) => chunk({ tool_calls }))),
      chunk({}, finish),
      ...(wantsUsage ? [last] : []),
      "data: [DONE]\n\n",
    ],
    late: chunk({ content: " and more" }),
    garbage: 'data: {"choices":[{"delta":{"content": oops\n\n',
    keepAlive: ": keep-alive\n\n",
  });
}

function callEvents(call: { name: string; arguments: string }, index: number): object[][] {
  return [
    [{ index, id: `call_${index}aB`, type: "function", function: { name: call.name, arguments: "" } }],
    ...piecesOf(call.arguments).map((piece) => [{ index, function: { arguments: piece } }]),
  ];
}

/** What the API refuses with 400, in its words more or less; "" for nothing. */
function problemOf(body: Record<string, unknown>): string {
  const unknown = unknownField(body, fields);
  if (unknown !== "") return `Unrecognized request argument supplied: ${unknown}`;
  if (typeof body.model !== "string" || body.model === "") return "you must provide a model parameter";
  if (!Array.isArray(body.messages) || body.messages.length === 0) return "'messages' is a required property";
  if (body.max_tokens !== undefined && body.max_completion_tokens !== undefined)
    return "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
  if (body.stream !== true && body.stream_options !== undefined)
    return "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
  if (Array.isArray(body.stop) && (body.stop.length === 0 || body.stop.length > 4)) return "Invalid 'stop'";
  if (body.tools !== undefined && (!Array.isArray(body.tools) || body.tools.length === 0))
    return "[] is too short - 'tools'";
  for (const tool of (body.tools ?? []) as { type?: string; function?: { name?: string; parameters?: unknown } }[]) {
    if (tool.type !== "function" || !/^[\w-]{1,64}$/.test(tool.function?.name ?? "")) return "Invalid 'tools'";
    if (typeof tool.function?.parameters !== "object") return "Invalid schema for function";
  }
  return messagesProblem(body.messages as Message[]);
}

function messagesProblem(messages: readonly Message[]): string {
  let open = new Set<string>();
  for (const [at, { role, content, tool_calls, tool_call_id }] of messages.entries()) {
    if (role === "tool") {
      if (!open.delete(tool_call_id ?? "")) return `messages.[${at}] with role 'tool' must follow its 'tool_calls'`;
      continue;
    }
    if (open.size > 0)
      return `messages.[${at}]: an assistant message with 'tool_calls' must be followed by its results`;
    if (role !== "system" && role !== "developer" && role !== "user" && role !== "assistant") return "Invalid role";
    open = new Set((tool_calls ?? []).map(({ id = "" }) => id));
    if (tool_calls?.some((call) => call.type !== "function" || typeof call.function?.arguments !== "string"))
      return `Invalid type for 'messages[${at}].tool_calls'`;
    if (typeof content !== "string" && !(content === null && open.size > 0))
      return `Invalid value for 'content' of messages[${at}]: expected a string, got null.`;
  }
  return "";
}
