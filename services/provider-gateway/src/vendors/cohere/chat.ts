/** `cohere/chat`: Cohere's Chat API, version 2, through its SDK. */
import type { ChatMessage, ToolOffer } from "@rspp/ports/provider";
import { type Cohere, CohereClientV2, CohereError } from "cohere-ai";
import type { ManagedProvider } from "../../attempt.ts";
import { objectOf } from "../chat/conversation.ts";
import { type ChatAsk, chatProvider } from "../chat/provider.ts";
import { temperatureOf } from "../chat/settings.ts";
import type { ChatTurn, Finish } from "../chat/turn.ts";
import type { VendorAccess } from "../vendor.ts";

const specs = {
  /** CONTEXTUAL, STRICT or OFF; empty: the model's own. */
  safety_mode: { type: "string", default: "", oneOf: ["", "CONTEXTUAL", "STRICT", "OFF"] },
} as const;
type Ask = ChatAsk<typeof specs>;

export function createCohereChat(access: VendorAccess): ManagedProvider {
  return chatProvider(access, { name: "cohere/chat", model: "command-a-plus-05-2026", specs, speak, codeOf });
}

/** In a stream it is the reason told at its end. */
class CohereFinish extends Error {
  readonly code: string;

  constructor(code: string) {
    super("the model ended with an error");
    this.code = code;
  }
}

/** Its errors have no code of their own but the status. A 200 that is not understood is none. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof CohereFinish) return error.code;
  return error instanceof CohereError && (error.statusCode ?? 200) >= 400 ? "" : undefined;
}

async function speak(ask: Ask, turn: ChatTurn): Promise<void> {
  const { baseUrl, key, values } = ask;
  const client = new CohereClientV2({ token: key ?? "", environment: baseUrl, maxRetries: 0, fetch: turn.fetch });
  const body = bodyOf(ask);
  if (!values.streaming) return hearWhole(await client.chat(body), turn);
  const calls = { next: 0 };
  for await (const event of await client.chatStream(body)) {
    if (turn.done) return;
    turn.heard();
    hear(event, turn, calls);
  }
}

function bodyOf({ values, messages, tools }: Ask): Cohere.V2ChatRequest {
  const { model, max_tokens, stop, safety_mode } = values;
  const temperature = temperatureOf(values);
  return {
    model,
    // An empty turn is refused.
    messages: messages.filter(({ text, toolCalls = [] }) => text !== "" || toolCalls.length > 0).map(messageOf),
    maxTokens: max_tokens,
    ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
    // Its range ends at 1.
    ...(temperature === undefined ? {} : { temperature: Math.min(1, temperature) }),
    ...(stop.length === 0 ? {} : { stopSequences: [...stop].slice(0, 5) }),
    ...(safety_mode === "" ? {} : { safetyMode: safety_mode as Cohere.V2ChatRequestSafetyMode }),
  };
}

function toolOf({ name, description, parameters }: ToolOffer): Cohere.ToolV2 {
  return { type: "function", function: { name, description, parameters: objectOf(parameters) } };
}

function messageOf({ role, text, toolCalls, callId = "" }: ChatMessage): Cohere.ChatMessageV2 {
  if (role === "tool") return { role, toolCallId: callId, content: text };
  if (role !== "assistant") return { role, content: text };
  if (toolCalls === undefined || toolCalls.length === 0) return { role, content: text };
  const calls = toolCalls.map((call) => ({
    id: call.callId,
    type: "function" as const,
    function: { name: call.name, arguments: call.arguments || "{}" },
  }));
  return { role, toolCalls: calls, ...(text === "" ? {} : { content: text }) };
}

function hear(event: Cohere.V2ChatStreamResponse, turn: ChatTurn, calls: { next: number }): void {
  switch (event.type) {
    case "content-start":
      return turn.text(event.delta?.message?.content?.text ?? "");
    case "content-delta":
      return turn.text(event.delta?.message?.content?.text ?? "");
    case "tool-call-start": {
      const call = event.delta?.message?.toolCalls;
      return turn.calls([{ index: event.index ?? calls.next++, id: call?.id ?? "", function: call?.function ?? {} }]);
    }
    case "tool-call-delta": {
      const more = event.delta?.message?.toolCalls?.function ?? {};
      return turn.calls([{ index: event.index ?? Math.max(0, calls.next - 1), function: more }]);
    }
    case "message-end": {
      const { finishReason, usage, error } = event.delta ?? {};
      used(usage, turn);
      if (error !== undefined && finishReason === undefined) throw new CohereFinish("ERROR");
      return turn.complete(finishOf(finishReason));
    }
    default:
      return;
  }
}

function hearWhole({ message, finishReason, usage }: Cohere.V2ChatResponse, turn: ChatTurn): void {
  turn.heard();
  used(usage, turn);
  for (const item of message.content ?? []) if (item.type === "text") turn.text(item.text);
  turn.calls((message.toolCalls ?? []).map(({ id, function: call = {} }, index) => ({ index, id, function: call })));
  turn.complete(finishOf(finishReason));
}

function used(usage: Cohere.Usage | undefined, turn: ChatTurn): void {
  turn.used(usage?.tokens?.inputTokens, usage?.tokens?.outputTokens);
}

function finishOf(reason: Cohere.ChatFinishReason | undefined): Finish {
  // Newer reasons are told before the SDK knows them.
  const word: string = reason ?? "COMPLETE";
  if (word === "ERROR" || word === "TIMEOUT") throw new CohereFinish(word);
  if (word === "ERROR_TOXIC") return "filtered";
  return word === "MAX_TOKENS" ? "length" : "stop";
}
