/** OpenAI's HTTP API as its reference has it. Each endpoint stands in a file of its own; who adds one adds its line. */
import type { Fake, FakeAnswer } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";
import { openAiChat } from "./chat.ts";

const key = "sk-fake-openai-key";

const endpoints: Readonly<Record<string, (exchange: FakeExchange) => Promise<void> | void>> = {
  "POST /v1/chat/completions": openAiChat,
};

export function startOpenAi(answer?: FakeAnswer): Promise<Fake> {
  return startFake({
    key,
    basePath: "/v1",
    ...(answer === undefined ? {} : { answer }),
    handlers: { http: (exchange) => serve(exchange) },
  });
}

function serve(exchange: FakeExchange): Promise<void> | void {
  const { request, url, fault } = exchange;
  const refuse = (status: number, type: string, code: string | null, headers: Record<string, string> = {}): void =>
    exchange.json(
      status,
      { error: { message: "You did something that is told here.", type, param: null, code } },
      headers,
    );
  const endpoint = endpoints[`${request.method} ${url.pathname}`];
  if (endpoint === undefined) {
    exchange.violation(`no such endpoint: ${request.method} ${url.pathname}`);
    return refuse(404, "invalid_request_error", "unknown_url");
  }
  if (request.headers.authorization !== `Bearer ${key}` || fault === "unauthorized")
    return refuse(401, "invalid_request_error", "invalid_api_key");
  if (fault === "rate_limited")
    return refuse(429, "requests", "rate_limit_exceeded", {
      "retry-after": "2",
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "2s",
    });
  if (fault === "server_error") return refuse(500, "server_error", null);
  return endpoint(exchange);
}
