/** What each vendor's language model is sent of one and the same conversation; each fake refuses what its vendor refuses. */
import type { ChatMessage, SettingValue, ToolOffer } from "@rspp/ports/provider";
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { recorder, request } from "@rspp/provider-gateway/testing/recorder";
import { createAnthropicChat } from "@rspp/provider-gateway/vendors/anthropic/chat";
import { createCohereChat } from "@rspp/provider-gateway/vendors/cohere/chat";
import { createGeminiChat } from "@rspp/provider-gateway/vendors/gemini/chat";
import { createOpenAiChat } from "@rspp/provider-gateway/vendors/openai/chat";
import type { VendorAccess } from "@rspp/provider-gateway/vendors/vendor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startAnthropic } from "../../fakes/anthropic/server.ts";
import { startCohere } from "../../fakes/cohere/server.ts";
import type { Fake } from "../../fakes/fake.ts";
import { startGemini } from "../../fakes/gemini/server.ts";
import { startOpenAi } from "../../fakes/openai/server.ts";

const clock = systemClock();
const tools: ToolOffer[] = [
  { name: "hours", description: "When.", parameters: '{"type":"object","properties":{"day":{"type":"string"}}}' },
];
/** Begins with the agent's greeting; a tool was called by a model of another vendor; the system speaks in between. */
const conversation: ChatMessage[] = [
  { role: "assistant", text: "Good day, how can I help?" },
  { role: "user", text: "When are you" },
  { role: "user", text: "open on Monday?" },
  { role: "assistant", text: "", toolCalls: [{ callId: "call:1.x", name: "hours", arguments: '{"day":"monday"}' }] },
  { role: "tool", text: '{"from":9,"to":6}', callId: "call:1.x" },
  { role: "assistant", text: "From nine to six." },
  { role: "system", text: "The caller is in a hurry." },
  { role: "assistant", text: "" },
  { role: "user", text: "And on Tuesday?" },
];
const settings = { prompt: "Be brief.", max_tokens: 77, temperature: 0.4, stop: ["END"], model: "" };

interface Case {
  readonly name: string;
  readonly start: () => Promise<Fake>;
  readonly create: (access: VendorAccess) => ManagedProvider;
  readonly expected: (model: string) => object;
  readonly models: readonly string[];
}

const asked = (text: string) => ({ role: "user", content: text });

const cases: Case[] = [
  {
    name: "openai/chat",
    start: startOpenAi,
    create: createOpenAiChat,
    models: ["gpt-4o-mini"],
    expected: (model) => ({
      model,
      max_tokens: 77,
      temperature: 0.4,
      stop: ["END"],
      stream: true,
      tools: [{ type: "function", function: { name: "hours" } }],
      messages: expect.arrayContaining([
        { role: "system", content: "Be brief." },
        { role: "system", content: "The caller is in a hurry." },
        { role: "tool", tool_call_id: "call:1.x", content: '{"from":9,"to":6}' },
        asked("And on Tuesday?"),
      ]),
    }),
  },
  {
    name: "anthropic/chat",
    start: startAnthropic,
    create: createAnthropicChat,
    models: ["claude-haiku-4-5"],
    expected: (model) => ({
      model,
      max_tokens: 77,
      system: "Be brief.\n\nThe caller is in a hurry.",
      stop_sequences: ["END"],
      stream: true,
      tools: [{ name: "hours", input_schema: { type: "object" } }],
      messages: [
        { role: "user", content: [{ type: "text", text: "(The call begins.)" }] },
        { role: "assistant" },
        { role: "user", content: [{ text: "When are you" }, { text: "open on Monday?" }] },
        { role: "assistant", content: [{ type: "tool_use", id: "call_1_x", input: { day: "monday" } }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "call_1_x" }] },
        { role: "assistant", content: [{ text: "From nine to six." }] },
        { role: "user", content: [{ text: "And on Tuesday?" }] },
      ],
    }),
  },
  {
    name: "cohere/chat",
    start: startCohere,
    create: createCohereChat,
    models: ["command-a-plus-05-2026"],
    expected: (model) => ({
      model,
      max_tokens: 77,
      temperature: 0.4,
      stop_sequences: ["END"],
      stream: true,
      tools: [{ type: "function", function: { name: "hours" } }],
      messages: expect.arrayContaining([
        { role: "system", content: "Be brief." },
        { role: "tool", tool_call_id: "call:1.x", content: '{"from":9,"to":6}' },
        asked("And on Tuesday?"),
      ]),
    }),
  },
  {
    name: "gemini/chat",
    start: startGemini,
    create: createGeminiChat,
    // Version 3 asks for signatures of the calls in the history.
    models: ["gemini-2.5-flash", "gemini-3-flash-preview"],
    expected: (model) => ({
      model,
      systemInstruction: { parts: [{ text: "Be brief.\n\nThe caller is in a hurry." }] },
      generationConfig: { maxOutputTokens: 77, temperature: 0.4, stopSequences: ["END"] },
      tools: [{ functionDeclarations: [{ name: "hours" }] }],
      contents: [
        { role: "user" },
        { role: "model" },
        { role: "user", parts: [{ text: "When are you" }, { text: "open on Monday?" }] },
        { role: "model", parts: [{ functionCall: { name: "hours", args: { day: "monday" } } }] },
        { role: "user", parts: [{ functionResponse: { name: "hours", response: { result: '{"from":9,"to":6}' } } }] },
        { role: "model" },
        { role: "user", parts: [{ text: "And on Tuesday?" }] },
      ],
    }),
  },
];

describe.each(cases)("F-055 $name", ({ name, start, create, expected, models }) => {
  let fake: Fake;
  beforeAll(async () => {
    fake = await start();
  });
  afterAll(() => fake.close());

  function ask(messages: readonly ChatMessage[], over: Record<string, SettingValue>, offered?: ToolOffer[]) {
    const provider = create({ clock, baseUrl: fake.baseUrl, key: () => fake.key, options: {} });
    const sink = recorder();
    const invocation = provider.open(request({ modality: "llm", provider: name, settings: over }), sink);
    invocation.push({ kind: "messages", messages, ...(offered === undefined ? {} : { tools: offered }) });
    invocation.finish();
    return { sink, invocation };
  }

  test.each(models)(
    "%s is sent prompt, history, tools and settings as its API takes them, and tells its usage",
    async (model) => {
      fake.script({ reply: "Nine to six, too." });
      const { sink } = ask(conversation, { ...settings, model }, tools);
      expect(await sink.ended).toEqual({ kind: "success", detail: "", usage: { inputTokens: 11, outputTokens: 7 } });
      expect(sink.text()).toBe("Nine to six, too.");
      expect(fake.calls.at(-1)?.facts).toMatchObject(expected(model));
      expect(fake.violations).toEqual([]);
    },
  );

  /** Milliseconds from a cancel in the middle of an answer until the vendor sees its connection closed. */
  async function cancelled(): Promise<number> {
    const { sink, invocation } = ask([{ role: "user", text: "Count." }], {});
    const call = fake.calls.length;
    await expect.poll(() => sink.chunks.length, { interval: 1 }).toBeGreaterThan(2);
    const before = sink.chunks.length;
    // Ten words take a quarter of a second; those that are here came before the rest was said.
    expect(before).toBeLessThan(8);
    const at = performance.now();
    invocation.cancel("barge_in");
    expect(sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
    await expect.poll(() => fake.calls[call]?.closedBy, { interval: 1 }).toBe("client");
    expect(sink.chunks.length).toBe(before);
    return (fake.calls[call]?.closedMs ?? 0) - at;
  }

  test("F-063 tokens come as they are said, and a cancel stops them at the vendor within 25 ms", async () => {
    fake.script({ reply: "one two three four five six seven eight nine ten", chunkMs: 25 });
    // A machine at work delays one of them; the best says what it takes.
    expect(Math.min(await cancelled(), await cancelled(), await cancelled())).toBeLessThan(25);
  });

  test("calls go over connections that earlier ones left open", async () => {
    fake.script({ reply: "Yes.", chunkMs: 0 });
    for (let n = 0; n < 8; n++) await ask([{ role: "user", text: "Yes?" }], {}).sink.ended;
    const ports = new Set(fake.calls.slice(-8).map(({ facts }) => facts.port));
    expect(ports.size).toBeLessThan(6);
  });
});
