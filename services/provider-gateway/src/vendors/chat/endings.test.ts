/** Every way in which vendors end an answer, by what they publish, and what it is to the gateway. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ManagedProvider } from "../../attempt.ts";
import { systemClock } from "../../testing/clocks.ts";
import { recorder, request } from "../../testing/recorder.ts";
import { createAnthropicChat } from "../anthropic/chat.ts";
import { createCohereChat } from "../cohere/chat.ts";
import { createGeminiChat } from "../gemini/chat.ts";
import { createOpenAiChat } from "../openai/chat.ts";
import type { VendorAccess } from "../vendor.ts";

let server: Server;
let baseUrl = "";
let status = 200;
let body = "";

beforeAll(async () => {
  server = createServer((incoming, response) => {
    incoming.resume();
    incoming.on("end", () => {
      const type = status === 200 ? "text/event-stream" : "application/json";
      response.writeHead(status, { "content-type": type });
      response.end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const clock = systemClock();

async function outcomeOf(create: (access: VendorAccess) => ManagedProvider, text: string, answered = 200) {
  [status, body] = [answered, text];
  const provider = create({ clock, baseUrl, key: () => "k", options: {} });
  const sink = recorder();
  const invocation = provider.open(request({ modality: "llm", provider: provider.name }), sink);
  invocation.push({ kind: "messages", messages: [{ role: "user", text: "hi" }] });
  const { kind, detail } = await sink.ended;
  expect(detail).not.toMatch(/secret/);
  return `${kind} ${detail}`;
}

const sse = (...events: object[]): string =>
  events.map((event) => `event: ${(event as { type?: string }).type}\ndata: ${JSON.stringify(event)}\n\n`).join("");

const start = {
  type: "message_start",
  message: { id: "m", type: "message", role: "assistant", content: [], usage: { input_tokens: 1, output_tokens: 1 } },
};
const said = { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "a secret" } };
const stopped = (stop_reason: string) => [
  { type: "message_delta", delta: { stop_reason }, usage: { output_tokens: 2 } },
  { type: "message_stop" },
];
const anthropicError = (type: string, error_code?: string) =>
  JSON.stringify({ type: "error", error: { type, message: "a secret", details: { error_code } } });

describe("anthropic/chat", () => {
  test.each([
    ["max_tokens", sse(start, said, ...stopped("max_tokens")), "success "],
    ["refusal", sse(start, said, ...stopped("refusal")), "safety_block the model refused"],
    ["no message_stop", sse(start, said), "disconnect the stream ended before the answer did"],
    [
      "overloaded in the stream",
      `${sse(start)}event: error\ndata: ${anthropicError("overloaded_error")}\n\n`,
      "overload",
    ],
    [
      "an error in the stream",
      `${sse(start)}event: error\ndata: ${anthropicError("api_error")}\n\n`,
      "error the endpoint",
    ],
    ["no event", "", "error malformed"],
  ])("F3 %s", async (_name, text, outcome) => {
    expect((await outcomeOf(createAnthropicChat, text)).startsWith(outcome)).toBe(true);
  });

  test.each([
    [429, "rate_limit_error", "overload rate_limited: HTTP 429"],
    [529, "overloaded_error", "overload HTTP 529"],
    [402, "billing_error", "overload quota: HTTP 402"],
    [403, "permission_error", "unauthorized HTTP 403"],
    [413, "request_too_large", "error HTTP 413"],
  ])("F3 HTTP %i %s", async (code, type, outcome) => {
    expect(await outcomeOf(createAnthropicChat, anthropicError(type), code)).toContain(outcome);
  });

  test("a limit of spending is a quota, though it comes as a limit of rate", async () => {
    const text = anthropicError("rate_limit_error", "enforced_spend_limit_reached");
    expect(await outcomeOf(createAnthropicChat, text, 429)).toBe("overload quota: HTTP 429");
  });
});

const co = (text: string) => ({ type: "content-delta", index: 0, delta: { message: { content: { text } } } });
const coEnd = (finish_reason: string) => ({ type: "message-end", delta: { finish_reason } });

describe("cohere/chat", () => {
  test.each([
    ["MAX_TOKENS", sse(co("a secret"), coEnd("MAX_TOKENS")), "success "],
    ["ERROR", sse(co("a secret"), coEnd("ERROR")), "error the endpoint"],
    ["TIMEOUT", sse(co("a secret"), coEnd("TIMEOUT")), "timeout the endpoint"],
    ["ERROR_TOXIC", sse(coEnd("ERROR_TOXIC")), "safety_block"],
    ["no message-end", sse(co("a secret")), "disconnect"],
  ])("F3 %s", async (_name, text, outcome) => {
    expect((await outcomeOf(createCohereChat, text)).startsWith(outcome)).toBe(true);
  });

  test.each([
    [402, "overload quota: HTTP 402"],
    [422, "error HTTP 422"],
    [503, "overload HTTP 503"],
    [504, "timeout HTTP 504"],
  ])("F3 HTTP %i", async (code, outcome) => {
    expect(await outcomeOf(createCohereChat, '{"message":"a secret"}', code)).toBe(outcome);
  });
});

const gem = (value: object): string => `data: ${JSON.stringify(value)}\r\n\r\n`;
const part = (finishReason?: string) => ({
  candidates: [{ content: { role: "model", parts: [{ text: "a secret" }] }, finishReason }],
});
const thought = { candidates: [{ content: { role: "model", parts: [{ text: "a secret", thought: true }] } }] };
const gemError = (code: number, state: string, reason?: string) =>
  JSON.stringify({ error: { code, message: "a secret", status: state, details: reason ? [{ reason }] : [] } });

describe("gemini/chat", () => {
  test.each([
    ["MAX_TOKENS", gem(part("MAX_TOKENS")), "success "],
    ["SAFETY", gem(part("SAFETY")), "safety_block"],
    ["RECITATION", gem(part("RECITATION")), "safety_block"],
    ["a prompt that is blocked", gem({ promptFeedback: { blockReason: "SAFETY" } }), "safety_block"],
    ["MALFORMED_FUNCTION_CALL", gem(part("MALFORMED_FUNCTION_CALL")), "error malformed"],
    ["OTHER", gem(part("OTHER")), "error the endpoint"],
    ["no reason", gem(part()), "disconnect"],
    ["thoughts alone, which nobody hears", gem(thought) + gem({ candidates: [{ finishReason: "STOP" }] }), "empty"],
    ["an error in the stream", gem(part()) + gem(JSON.parse(gemError(503, "UNAVAILABLE"))), "overload"],
  ])("F3 %s", async (_name, text, outcome) => {
    expect((await outcomeOf(createGeminiChat, text)).startsWith(outcome)).toBe(true);
  });

  test.each([
    [400, "INVALID_ARGUMENT", "API_KEY_INVALID", "unauthorized HTTP 400: the key was refused"],
    [400, "INVALID_ARGUMENT", undefined, "error HTTP 400"],
    [429, "RESOURCE_EXHAUSTED", undefined, "overload rate_limited: HTTP 429"],
    [503, "UNAVAILABLE", undefined, "overload HTTP 503"],
    [504, "DEADLINE_EXCEEDED", undefined, "timeout HTTP 504"],
  ])("F3 HTTP %i %s %s", async (code, state, reason, outcome) => {
    expect(await outcomeOf(createGeminiChat, gemError(code, state, reason), code)).toBe(outcome);
  });
});

test("openai/chat: a quota that is used up is told apart from a limit of rate", async () => {
  const error = (code: string) => JSON.stringify({ error: { message: "a secret", type: code, code } });
  expect(await outcomeOf(createOpenAiChat, error("insufficient_quota"), 429)).toBe("overload quota: HTTP 429");
  expect(await outcomeOf(createOpenAiChat, error("rate_limit_exceeded"), 429)).toBe("overload rate_limited: HTTP 429");
});
