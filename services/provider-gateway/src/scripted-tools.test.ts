import type { ChatMessage, ToolOffer } from "@rspp/ports/provider";
import { expect, test } from "vitest";
import { roundsSoFar, scriptedAnswer, scriptedCalls } from "./scripted-tools.ts";

const tools: ToolOffer[] = ["hours", "order"].map((name) => ({ name, description: "", parameters: "{}" }));
const script = {
  tool_calls: ["when do you open => hours", 'order * please => order {"item":"$1"}', "help => unknown"],
  tool_answers: ["hours => We open at {open.at}.", "order! => That is sold out."],
};
const user = (text: string): ChatMessage => ({ role: "user", text });

test("X-03 the caller's words call tools that are offered, with what the words hold", () => {
  expect(scriptedCalls(script, [user("So, when do you OPEN?")], tools, "i")).toEqual([
    { callId: "i_1", name: "hours", arguments: "{}" },
  ]);
  expect(scriptedCalls(script, [user("Order two teas, please")], tools, "i")).toEqual([
    { callId: "i_1", name: "order", arguments: '{"item":"two teas"}' },
  ]);
  expect(scriptedCalls(script, [user("help")], tools, "i")).toEqual([]);
  expect(scriptedCalls(script, [user("when do you open")], [], "i")).toEqual([]);
});

test("X-03 results since the caller's last words are spoken of; older ones are not", () => {
  const called: ChatMessage = {
    role: "assistant",
    text: "",
    toolCalls: [
      { callId: "1", name: "hours", arguments: "{}" },
      { callId: "2", name: "order", arguments: "{}" },
    ],
  };
  const messages: ChatMessage[] = [
    user("both"),
    called,
    { role: "tool", text: '{"open":{"at":"nine"}}', callId: "1" },
    { role: "tool", text: '{"error":"HTTP 409"}', callId: "2" },
  ];
  expect(scriptedAnswer(script, messages)).toBe("We open at nine. That is sold out.");
  expect(scriptedAnswer({ tool_calls: [], tool_answers: [] }, messages)).toBe(
    '{"open":{"at":"nine"}} Sorry, that did not work.',
  );
  expect(roundsSoFar(messages)).toBe(1);
  expect(scriptedAnswer(script, [...messages, user("thanks")])).toBeUndefined();
});
