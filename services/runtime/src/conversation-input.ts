/** What a language model is asked: handles as words, and the tools it may call, as its node defines them. */
import type { Effect } from "@rspp/kernel/effect";
import type { TextSpan } from "@rspp/kernel/event";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { ChatMessage, InvocationInput } from "@rspp/ports/provider";

type Asked = Extract<Effect, { type: "provider_push_messages" }>;

export function conversationInput(
  { messages, tools }: Asked,
  text: (spans: readonly TextSpan[]) => string,
  config: SessionConfig,
  node: string,
): InvocationInput {
  const said = messages.map(({ role, spans, toolCalls, callId }): ChatMessage => {
    const calls = toolCalls?.map((call) => ({ callId: call.callId, name: call.name, arguments: text(call.spans) }));
    return {
      role,
      text: text(spans),
      ...(calls === undefined ? {} : { toolCalls: calls }),
      ...(callId === undefined ? {} : { callId }),
    };
  });
  if (tools === undefined) return { kind: "messages", messages: said };
  const known = config.graph.nodes.find(({ id }) => id === node)?.tools ?? [];
  const offered = known.filter(({ name }) => tools.includes(name));
  return {
    kind: "messages",
    messages: said,
    tools: offered.map(({ name, description, parameters }) => ({ name, description, parameters })),
  };
}
