import fc from "fast-check";
import { expect, test } from "vitest";
import { systemClock } from "../../testing/clocks.ts";
import { recorder, request } from "../../testing/recorder.ts";
import { startWebhook } from "../../testing/tool-servers.ts";
import { GatheredCalls, type ToolCallDelta } from "../chat/gathered-calls.ts";
import { createOpenAiChat } from "./chat.ts";
import { messageOf } from "./messages.ts";

test("X-03 definitions, calls in pieces and results are what the API publishes", async () => {
  const hook = await startWebhook();
  const delta = (tool_calls: ToolCallDelta[], finish: string | null = null) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { tool_calls }, finish_reason: finish }] })}\n\n`;
  hook.answer = (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(delta([{ index: 0, id: "call_a", function: { name: "hours", arguments: "" } }]));
    response.write(delta([{ index: 0, function: { arguments: '{"day":' } }]));
    response.write(delta([{ index: 1, id: "call_b", function: { name: "order", arguments: "{}" } }]));
    response.write(delta([{ index: 0, function: { arguments: '"monday"}' } }]));
    response.end(`${delta([], "tool_calls")}data: [DONE]\n\n`);
  };
  const sink = recorder();
  const chat = createOpenAiChat({ clock: systemClock(), baseUrl: hook.origin, key: () => "k", options: {} });
  const invocation = chat.open(request({ modality: "llm", provider: "openai/chat" }), sink);
  invocation.push({
    kind: "messages",
    messages: [
      { role: "user", text: "when" },
      { role: "assistant", text: "", toolCalls: [{ callId: "call_0", name: "hours", arguments: "" }] },
      { role: "tool", text: '{"at":9}', callId: "call_0" },
    ],
    tools: [{ name: "hours", description: "When.", parameters: '{"type":"object"}' }],
  });
  expect(await sink.ended).toMatchObject({ kind: "success" });
  await hook.close();
  expect(sink.chunks).toEqual([
    { kind: "tool_call", callId: "call_a", name: "hours", arguments: '{"day":"monday"}' },
    { kind: "tool_call", callId: "call_b", name: "order", arguments: "{}" },
  ]);
  const sent = JSON.parse(hook.hits[0]?.body ?? "") as { messages: unknown; tools: unknown };
  expect(sent.tools).toEqual([
    { type: "function", function: { name: "hours", description: "When.", parameters: { type: "object" } } },
  ]);
  expect(sent.messages).toEqual([
    { role: "user", content: "when" },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "call_0", type: "function", function: { name: "hours", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "call_0", content: '{"at":9}' },
  ]);
  expect(messageOf({ role: "user", text: "x" })).toEqual({ role: "user", content: "x" });
});

test("X-03 however calls are cut and mixed in the stream, they are gathered whole and in order", () => {
  const call = fc.record({ name: fc.stringMatching(/^[a-z]{1,12}$/), args: fc.json({ maxDepth: 2 }) });
  fc.assert(
    fc.property(fc.array(call, { minLength: 1, maxLength: 5 }), fc.infiniteStream(fc.nat(7)), (calls, sizes) => {
      const left = calls.map(({ args }) => args);
      const gathered = new GatheredCalls("i");
      for (const [index, { name }] of calls.entries()) gathered.add([{ index, id: `c${index}`, function: { name } }]);
      for (let turn = 0; left.some((rest) => rest !== ""); turn++) {
        const index = turn % calls.length;
        const size = 1 + (sizes.next().value ?? 0);
        expect(gathered.add([{ index, function: { arguments: left[index]?.slice(0, size) ?? "" } }])).toBe("");
        left[index] = left[index]?.slice(size) ?? "";
      }
      expect(gathered.all()).toEqual(
        calls.map(({ name, args }, i) => ({ callId: `c${i}`, name, arguments: args.trim() || "{}" })),
      );
    }),
    { numRuns: 100 },
  );
});

test("X-03 calls beyond their bounds are refused; pieces without an index belong to the call they name", () => {
  const many = new GatheredCalls("i");
  expect(many.add(Array.from({ length: 40 }, (_, index) => ({ index, id: `${index}` })))).toContain("more than 16");
  expect(new GatheredCalls("i").add([{ index: 0, function: { arguments: "x".repeat(20_000) } }])).toContain(
    "longer than",
  );
  const whole = new GatheredCalls("i");
  whole.add([
    { id: "a", function: { name: "one" } },
    { function: { arguments: "{}" } },
    { id: "b", function: { name: "two" } },
  ]);
  expect(whole.all()).toEqual([
    { callId: "a", name: "one", arguments: "{}" },
    { callId: "b", name: "two", arguments: "{}" },
  ]);
  const unnamed = new GatheredCalls("i");
  unnamed.add([{ index: 0, function: { name: "one" } }]);
  expect(unnamed.all()).toEqual([{ callId: "i_1", name: "one", arguments: "{}" }]);
});
