/** The conversation as vendors want it that know two sides only: system text apart, sides in turn, nothing empty. */
import type { ChatMessage } from "@rspp/ports/provider";

/** Said for the caller where a conversation opens with the agent's greeting: the other side has to begin. */
export const OPENING = "(The call begins.)";

/** All that the system says, in order. */
export function systemOf(messages: readonly ChatMessage[]): string {
  const said = messages.filter(({ role, text }) => role === "system" && text !== "");
  return said.map(({ text }) => text).join("\n\n");
}

/** Neighbours of the same side are one message; `part` says what a message holds there, nothing for none. */
export function inTurns<P>(
  messages: readonly ChatMessage[],
  partsOf: (message: ChatMessage) => readonly P[],
  opening: P,
): { side: "caller" | "model"; parts: P[] }[] {
  const turns: { side: "caller" | "model"; parts: P[] }[] = [];
  for (const message of messages) {
    if (message.role === "system") continue;
    const parts = partsOf(message);
    if (parts.length === 0) continue;
    const side = message.role === "assistant" ? "model" : "caller";
    if (turns.length === 0 && side === "model") turns.push({ side: "caller", parts: [opening] });
    const last = turns.at(-1);
    if (last?.side === side) last.parts.push(...parts);
    else turns.push({ side, parts: [...parts] });
  }
  return turns;
}

/** What a model wrote as JSON, as an object; {} where it is none. */
export function objectOf(json: string): Record<string, unknown> {
  try {
    const value = JSON.parse(json) as unknown;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}
