/** `anthropic/chat`: Anthropic's Messages API through its SDK. */
import Anthropic, { APIError } from "@anthropic-ai/sdk";
import type {
  ContentBlockParam,
  Message,
  MessageCreateParamsBase,
  MessageParam,
  RawMessageStreamEvent,
  StopReason,
  Tool,
} from "@anthropic-ai/sdk/resources/messages";
import type { ChatMessage, ToolOffer } from "@rspp/ports/provider";
import type { ManagedProvider } from "../../attempt.ts";
import { inTurns, OPENING, objectOf, systemOf } from "../chat/conversation.ts";
import { type ChatAsk, chatProvider } from "../chat/provider.ts";
import type { ChatTurn, Finish } from "../chat/turn.ts";
import type { VendorAccess } from "../vendor.ts";

const specs = {} as const;
type Ask = ChatAsk<typeof specs>;

export function createAnthropicChat(access: VendorAccess): ManagedProvider {
  return chatProvider(access, { name: "anthropic/chat", model: "claude-haiku-4-5", specs, speak, codeOf });
}

/** `overloaded_error` and the like. */
function codeOf(error: unknown): string | undefined {
  if (!(error instanceof APIError) || typeof error.type !== "string") return undefined;
  return `${error.type} ${error.errorCode ?? ""}`;
}

async function speak(ask: Ask, turn: ChatTurn): Promise<void> {
  const { baseUrl, key, values } = ask;
  const client = new Anthropic({
    apiKey: key ?? null,
    authToken: null,
    webhookKey: null,
    baseURL: baseUrl,
    // The kernel's to decide, within the budget.
    maxRetries: 0,
    // It would log what the model says where it does not understand it (NF-011).
    logLevel: "off",
    fetch: turn.fetch,
  });
  const body = bodyOf(ask);
  if (!values.streaming) return hearWhole(await client.messages.create({ ...body, stream: false }), turn);
  const stopped: Stopped = { finish: undefined };
  for await (const event of await client.messages.create({ ...body, stream: true })) {
    if (turn.done) return;
    turn.heard();
    hear(event, turn, stopped);
  }
}

function bodyOf({ values, messages, tools }: Ask): MessageCreateParamsBase {
  const { model, max_tokens, stop } = values;
  const system = systemOf(messages);
  // No temperature: the API takes none since its version of 2026-10-21.
  return {
    model,
    max_tokens,
    messages: messagesOf(messages),
    ...(system === "" ? {} : { system }),
    ...(tools.length === 0 ? {} : { tools: tools.map(toolOf) }),
    ...(stop.length === 0 ? {} : { stop_sequences: [...stop] }),
  };
}

function toolOf({ name, description, parameters }: ToolOffer): Tool {
  return { name, description, input_schema: { type: "object", ...objectOf(parameters) } };
}

function messagesOf(messages: readonly ChatMessage[]): MessageParam[] {
  const opening: ContentBlockParam = { type: "text", text: OPENING };
  return inTurns(messages, blocksOf, opening).map(({ side, parts }) => ({
    role: side === "model" ? "assistant" : "user",
    content: parts,
  }));
}

function blocksOf({ role, text, toolCalls = [], callId = "" }: ChatMessage): ContentBlockParam[] {
  if (role === "tool") return [{ type: "tool_result", tool_use_id: idOf(callId), content: text }];
  const calls = toolCalls.map((call) => ({
    type: "tool_use" as const,
    id: idOf(call.callId),
    name: call.name,
    input: objectOf(call.arguments),
  }));
  return text.trim() === "" ? calls : [{ type: "text", text }, ...calls];
}

/** Calls of other vendors' models have ids of other forms. */
const idOf = (callId: string): string => callId.replaceAll(/[^a-zA-Z0-9_-]/g, "_");

/** Why the model stopped is told before the message ends. */
interface Stopped {
  finish: Finish | undefined;
}

function hear(event: RawMessageStreamEvent, turn: ChatTurn, stopped: Stopped): void {
  switch (event.type) {
    case "message_start":
      return turn.used(inputTokens(event.message), undefined);
    case "content_block_start": {
      const block = event.content_block;
      if (block.type === "text") turn.text(block.text);
      else if (block.type === "tool_use")
        turn.calls([{ index: event.index, id: block.id, function: { name: block.name } }]);
      return;
    }
    case "content_block_delta":
      if (event.delta.type === "text_delta") turn.text(event.delta.text);
      else if (event.delta.type === "input_json_delta")
        turn.calls([{ index: event.index, function: { arguments: event.delta.partial_json } }]);
      return;
    case "message_delta":
      turn.used(undefined, event.usage.output_tokens);
      if (event.delta.stop_reason !== null) stopped.finish = finishOf(event.delta.stop_reason);
      return;
    case "message_stop":
      if (stopped.finish !== undefined) turn.complete(stopped.finish);
      return;
    default:
      return;
  }
}

function hearWhole(message: Message, turn: ChatTurn): void {
  turn.heard();
  turn.used(inputTokens(message), message.usage.output_tokens);
  for (const [index, block] of message.content.entries()) {
    if (block.type === "text") turn.text(block.text);
    else if (block.type === "tool_use")
      turn.calls([{ index, id: block.id, function: { name: block.name, arguments: JSON.stringify(block.input) } }]);
  }
  turn.complete(finishOf(message.stop_reason ?? "end_turn"));
}

/** What was read from a cache was read, too. */
function inputTokens({ usage }: Message): number {
  return usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0);
}

function finishOf(reason: StopReason): Finish {
  if (reason === "refusal") return "refused";
  return reason === "max_tokens" || reason === "model_context_window_exceeded" ? "length" : "stop";
}
