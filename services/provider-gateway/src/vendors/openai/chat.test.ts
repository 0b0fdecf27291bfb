import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ManagedProvider } from "../../attempt.ts";
import { systemClock } from "../../testing/clocks.ts";
import { describeConformance } from "../../testing/conformance.ts";
import { recorder, request } from "../../testing/recorder.ts";
import type { VendorAccess } from "../vendor.ts";
import { createOpenAiChat } from "./chat.ts";
import { readSse } from "./sse.ts";

type Answer = (response: ServerResponse, body: Record<string, unknown>, request: IncomingMessage) => void;

let answer: Answer;
let server: Server;
let baseUrl = "";

beforeAll(async () => {
  server = createServer(async (incoming, response) => {
    let body = "";
    for await (const part of incoming) body += part;
    answer(response, JSON.parse(body) as Record<string, unknown>, incoming);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const event = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
const usage = 'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n';

function says(...texts: string[]): Answer {
  return (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(event({ role: "assistant", content: "" }));
    for (const text of texts) response.write(event({ content: text }));
    response.write(event({}, "stop"));
    response.end(`${usage}data: [DONE]\n\n`);
  };
}

const fails =
  (status: number, code = "x"): Answer =>
  (response) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { code, message: "secret prompt text" } }));
  };

function ask(provider: ManagedProvider, settings: Record<string, string | number> = {}) {
  const sink = recorder();
  const invocation = provider.open(request({ modality: "llm", provider: provider.name, settings }), sink);
  invocation.push({ kind: "messages", messages: [{ role: "user", text: "hi" }] });
  invocation.finish();
  return { sink, invocation };
}

const clock = systemClock();
const chat = (over: Partial<VendorAccess> = {}) =>
  createOpenAiChat({ clock, baseUrl, key: () => "sk-test", options: {}, ...over });

describe("conformance", () => {
  beforeAll(() => {
    answer = says("Hel", "lo.");
  });
  describeConformance({
    create: (own) => ({
      ...chat(),
      open: (req, sink) => chat({ clock: own }).open(req, sink),
    }),
    clock: "system",
    settings: {},
    feed: (invocation) => invocation.push({ kind: "messages", messages: [{ role: "user", text: "hi" }] }),
    badSetting: { name: "model", value: 4 },
  });
});

describe("openai/chat", () => {
  test("streams the answer, sends key, prompt and conversation, and reports usage", async () => {
    let seen: Record<string, unknown> = {};
    let headers: IncomingMessage["headers"] = {};
    answer = (response, body, incoming) => {
      seen = body;
      headers = incoming.headers;
      says("Hello", " there", ".")(response, body, incoming);
    };
    const { sink } = ask(chat(), { prompt: "Be brief.", model: "m1", max_tokens: 9 });
    expect(await sink.ended).toEqual({ kind: "success", detail: "", usage: { inputTokens: 7, outputTokens: 3 } });
    expect(sink.text()).toBe("Hello there.");
    expect(headers).toMatchObject({ authorization: "Bearer sk-test", "idempotency-key": "key-1" });
    expect(seen).toMatchObject({
      model: "m1",
      max_tokens: 9,
      stream: true,
      messages: [
        { role: "system", content: "Be brief." },
        { role: "user", content: "hi" },
      ],
    });
  });

  test.each([
    [401, "invalid_api_key", "unauthorized"],
    [403, "x", "unauthorized"],
    [429, "rate_limit_exceeded", "overload"],
    [503, "x", "overload"],
    [504, "x", "timeout"],
    [400, "content_filter", "safety_block"],
    [400, "bad_request", "error"],
    [500, "x", "error"],
  ])("F3 HTTP %i %s becomes %s, without the body's text", async (status, code, kind) => {
    answer = fails(status, code);
    const outcome = await ask(chat()).sink.ended;
    expect(outcome.kind).toBe(kind);
    expect(outcome.detail).not.toContain("secret");
  });

  const streams: [string, string, string][] = [
    ["an empty answer", `${event({}, "stop")}data: [DONE]\n\n`, "empty"],
    ["a content filter", `${event({ content: "x" }, "content_filter")}data: [DONE]\n\n`, "safety_block"],
    ["a refusal", event({ refusal: "no" }), "safety_block"],
    ["an error in the stream", 'data: {"error":{"type":"overloaded_error"}}\n\n', "overload"],
    ["no JSON", "data: {oops\n\n", "error"],
    ["an end before the answer's", event({ content: "x" }), "disconnect"],
    ["an end without [DONE]", event({ content: "x" }, "stop"), "success"],
    ["comments and CRLF", `: ping\r\n\r\n${event({ content: "x" }, "stop").replaceAll("\n", "\r\n")}`, "success"],
  ];
  test.each(streams)("F3 a stream with %s", async (_name, text, kind) => {
    answer = (response) => {
      response.writeHead(200);
      response.end(text);
    };
    expect((await ask(chat()).sink.ended).kind).toBe(kind);
  });

  test("F3 a connection that breaks, or that cannot be made, is a disconnect", async () => {
    answer = (response) => {
      response.writeHead(200);
      response.write(event({ content: "Hel" }), () => response.destroy());
    };
    const { sink } = ask(chat());
    expect((await sink.ended).kind).toBe("disconnect");
    expect(sink.text()).toBe("Hel");
    const refused = await ask(chat({ baseUrl: "http://127.0.0.1:1/v1" })).sink.ended;
    expect(refused.kind).toBe("disconnect");
  });

  test("half lines are put together", async () => {
    const whole = Buffer.from(
      `${event({ content: "grün " })}${event({ content: "und blau" }, "stop")}data: [DONE]\n\n`,
    );
    answer = async (response) => {
      response.writeHead(200);
      for (let at = 0; at < whole.length; at += 13) {
        await new Promise<void>((resolve) => response.write(whole.subarray(at, at + 13), () => resolve()));
      }
      response.end();
    };
    const { sink } = ask(chat());
    expect((await sink.ended).kind).toBe("success");
    expect(sink.text()).toBe("grün und blau");
  });

  test("F3 a silent stream stays open until it is cancelled, and then is closed at the server", async () => {
    const open = Promise.withResolvers<ServerResponse>();
    answer = (response) => {
      response.writeHead(200);
      response.flushHeaders();
      open.resolve(response);
    };
    const { sink, invocation } = ask(chat());
    const response = await open.promise;
    const closed = new Promise((resolve) => response.on("close", resolve));
    expect(sink.outcomes).toEqual([]);
    invocation.cancel("timeout");
    expect(sink.outcomes).toEqual([{ kind: "cancelled", detail: "cancelled" }]);
    await closed;
    const bounded = ask(chat(), { total_timeout_ms: 5 });
    expect((await bounded.sink.ended).kind).toBe("timeout");
  });

  test("a server that needs no key is sent none", async () => {
    let seen: IncomingMessage["headers"] = {};
    answer = (response, body, incoming) => {
      seen = incoming.headers;
      says("x")(response, body, incoming);
    };
    expect((await ask(chat({ key: () => undefined })).sink.ended).kind).toBe("success");
    expect(seen.authorization).toBeUndefined();
  });
});

test("events are the same however their bytes are cut", async () => {
  const text = "data: one\n\n: note\ndata: two\ndata: lines\r\n\r\nid: 3\ndata:drei ü\n\n";
  const bytes = new TextEncoder().encode(text);
  const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 10 });
  await fc.assert(
    fc.asyncProperty(cuts, async (sizes) => {
      async function* body() {
        for (let at = 0, n = 0; at < bytes.length; n++) {
          const size = sizes[n % sizes.length]!;
          yield bytes.subarray(at, at + size);
          at += size;
        }
      }
      const events: string[] = [];
      for await (const data of readSse(body())) events.push(data);
      expect(events).toEqual(["one", "two\nlines", "drei ü"]);
    }),
  );
});
