/** What a language model is asked and which tools it calls: messages of `rspp.provider.v1` <-> values of the port. */
import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import {
  type Conversation,
  type ConversationSchema,
  MessageRole,
  type OutputChunk,
  OutputChunkSchema,
} from "@rspp/gen/rspp/provider/v1/invocation_pb";
import type { ChatMessage, InvocationInput, ToolCall, ToolOffer } from "@rspp/ports/provider";
import { invocationLimits as limits } from "./invocation-limits.ts";

/** A value that does not fit the contract; `problem` names the field and what is allowed, never the value. */
export type Fit<T> = Result<T, string>;

export interface SizedOutput {
  /** Its sequence is given when it is sent. */
  readonly output: OutputChunk;
  readonly bytes: number;
}

type Asked = Extract<InvocationInput, { kind: "messages" }>;
type Messages = NonNullable<MessageInitShape<typeof ConversationSchema>["messages"]>;
type Tools = NonNullable<MessageInitShape<typeof ConversationSchema>["tools"]>;

const roles = {
  system: MessageRole.SYSTEM,
  user: MessageRole.USER,
  assistant: MessageRole.ASSISTANT,
  tool: MessageRole.TOOL,
} as const;
const roleNames = new Map(
  Object.entries(roles).map(([name, role]) => [role as MessageRole, name as ChatMessage["role"]]),
);

export interface WireConversation {
  messages: { role: MessageRole; text: string; toolCallId: string; toolCalls: WireCall[] }[];
  tools: Tools;
  bytes: number;
}

interface WireCall {
  id: string;
  name: string;
  argumentsJson: string;
}

export function conversationToWire({ messages, tools = [] }: Asked): Fit<WireConversation> {
  const offered: { name: string; description: string; parameters: JsonObject }[] = [];
  for (const { name, description, parameters } of tools) {
    const schema = objectOf(parameters);
    if (schema === undefined) return err(`tool \`${name}\`: its parameters are no JSON object`);
    offered.push({ name, description, parameters: schema });
  }
  const told = messages.map(({ role, text, callId = "", toolCalls = [] }) => ({
    role: roles[role],
    text,
    toolCallId: callId,
    toolCalls: toolCalls.map((call) => ({ id: call.callId, name: call.name, argumentsJson: call.arguments })),
  }));
  return ok({ messages: told, tools: offered, bytes: conversationBytes(told) });
}

function objectOf(json: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes that count for credit. */
export function conversationBytes(messages: Messages): number {
  let bytes = 0;
  for (const { text = "", toolCalls = [] } of messages) {
    bytes += Buffer.byteLength(text);
    for (const { argumentsJson = "" } of toolCalls) bytes += Buffer.byteLength(argumentsJson);
  }
  return bytes;
}

export function conversationFromWire({ messages, tools }: Conversation): Fit<InvocationInput> {
  const said: ChatMessage[] = [];
  for (const { role, text, toolCallId, toolCalls } of messages) {
    const name = roleNames.get(role);
    if (name === undefined) return err("input.conversation.messages.role: use system, user, assistant or tool");
    if ((name === "tool") !== (toolCallId !== ""))
      return err("input.conversation.messages.tool_call_id: named with role tool, and with no other");
    if (toolCalls.length > 0 && name !== "assistant")
      return err("input.conversation.messages.tool_calls: the role assistant alone calls tools");
    said.push({
      role: name,
      text,
      ...(toolCallId === "" ? {} : { callId: toolCallId }),
      ...(toolCalls.length === 0
        ? {}
        : {
            toolCalls: toolCalls.map((call) => ({ callId: call.id, name: call.name, arguments: call.argumentsJson })),
          }),
    });
  }
  const offered = tools.map(
    ({ name, description, parameters }): ToolOffer => ({
      name,
      description,
      parameters: JSON.stringify(parameters ?? {}),
    }),
  );
  return ok({ kind: "messages", messages: said, ...(offered.length === 0 ? {} : { tools: offered }) });
}

export function toolCallToWire({ callId, name, arguments: args }: ToolCall): Fit<SizedOutput> {
  if (callId === "" || callId.length > 128 || name === "" || name.length > 64)
    return err("the provider's tool call has no id of 1 to 128 or no name of 1 to 64 characters");
  if (args.length > limits.TEXT_CHARS_MAX)
    return err(`the provider's tool call has arguments longer than ${limits.TEXT_CHARS_MAX} characters`);
  const value = { id: callId, name, argumentsJson: args };
  const output = create(OutputChunkSchema, { output: { case: "toolCall", value } });
  return ok({ output, bytes: Buffer.byteLength(args) });
}
