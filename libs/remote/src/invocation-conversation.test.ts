import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ConversationSchema, OutputChunkSchema } from "@rspp/gen/rspp/provider/v1/invocation_pb";
import type { ChatMessage, InvocationInput } from "@rspp/ports/provider";
import fc from "fast-check";
import { expect, test } from "vitest";
import { conversationFromWire, conversationToWire, toolCallToWire } from "./invocation-conversation.ts";
import { chunkFromWire, inputFromWire, inputToWire } from "./invocation-messages.ts";

const call = fc.record({
  callId: fc.string({ minLength: 1, maxLength: 20 }),
  name: fc.string({ minLength: 1, maxLength: 20 }),
  arguments: fc.json(),
});
const text = fc.string();
const message: fc.Arbitrary<ChatMessage> = fc.oneof(
  fc.record({ role: fc.constantFrom("system" as const, "user" as const, "assistant" as const), text }),
  fc.record({
    role: fc.constant("assistant" as const),
    text,
    toolCalls: fc.array(call, { minLength: 1, maxLength: 4 }),
  }),
  fc.record({ role: fc.constant("tool" as const), text, callId: fc.string({ minLength: 1, maxLength: 20 }) }),
);
const offer = fc.record({
  name: fc.string({ minLength: 1, maxLength: 20 }),
  description: text,
  parameters: fc.constantFrom("{}", '{"type":"object"}', '{"properties":{"a":{"type":"string"}},"type":"object"}'),
});

test("X-03 a conversation with calls, results and tools arrives as it was sent", () => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 8 }),
      fc.array(offer, { minLength: 1, maxLength: 4 }),
      (messages, tools) => {
        const asked: InvocationInput = { kind: "messages", messages, tools };
        const wire = conversationToWire(asked);
        if (!wire.ok) throw new Error(wire.error);
        const bytes = toBinary(ConversationSchema, create(ConversationSchema, wire.value));
        const back = conversationFromWire(fromBinary(ConversationSchema, bytes));
        expect(back).toEqual({ ok: true, value: asked });
      },
    ),
  );
});

test("X-03 a call arrives as it was made; one without a name or id is refused", () => {
  fc.assert(
    fc.property(call, (made) => {
      const wire = toolCallToWire(made);
      if (!wire.ok) throw new Error(wire.error);
      const chunk = fromBinary(OutputChunkSchema, toBinary(OutputChunkSchema, wire.value.output));
      expect(chunkFromWire(chunk, 0)).toEqual({ ok: true, value: { kind: "tool_call", ...made } });
    }),
  );
  expect(toolCallToWire({ callId: "", name: "x", arguments: "{}" }).ok).toBe(false);
  expect(toolCallToWire({ callId: "a", name: "", arguments: "{}" }).ok).toBe(false);
});

test("X-03 a tool takes its arguments as text; who says what is checked on arrival", () => {
  const sized = inputToWire({ kind: "text", text: '{"a":1}', segment: 0 });
  if (!sized.ok) throw new Error(sized.error);
  const input = sized.value[0]?.input;
  expect(inputFromWire({ input, sequence: 1 } as never, "tool")).toMatchObject({ value: { text: '{"a":1}' } });
  expect(inputFromWire({ input, sequence: 1 } as never, "llm").ok).toBe(false);
  const told = (over: object): boolean =>
    conversationFromWire(create(ConversationSchema, { messages: [{ role: 2, text: "x", ...over }] })).ok;
  expect(told({})).toBe(true);
  expect(told({ toolCallId: "a" })).toBe(false);
  expect(told({ role: 4 })).toBe(false);
  expect(told({ toolCalls: [{ id: "a", name: "b", argumentsJson: "{}" }] })).toBe(false);
  expect(
    conversationToWire({ kind: "messages", messages: [], tools: [{ name: "a", description: "", parameters: "[" }] }).ok,
  ).toBe(false);
});
