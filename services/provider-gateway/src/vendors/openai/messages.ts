/** Conversation and tools as an OpenAI-compatible chat endpoint knows them. */
import type { ChatMessage, ToolOffer } from "@rspp/ports/provider";

export function messageOf({ role, text, toolCalls, callId }: ChatMessage): Record<string, unknown> {
  if (role === "tool") return { role, tool_call_id: callId ?? "", content: text };
  if (toolCalls === undefined) return { role, content: text };
  const calls = toolCalls.map((call) => ({
    id: call.callId,
    type: "function",
    function: { name: call.name, arguments: call.arguments || "{}" },
  }));
  return { role, content: text === "" ? null : text, tool_calls: calls };
}

/** Nothing where there are none: some endpoints refuse an empty list. */
export function toolsOf(tools: readonly ToolOffer[]): Record<string, unknown> {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(({ name, description, parameters }) => ({
      type: "function",
      function: { name, description, parameters: JSON.parse(parameters) as unknown },
    })),
  };
}
