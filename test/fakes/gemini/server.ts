/** Google's Gemini API as its reference has it, streamed and whole. */
import { answerOf, bodyOf, speakEvents, speakWhole, unknownField, usage, wordsOf } from "../chat-answer.ts";
import type { Fake, FakeAnswer } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";

const key = "AIza-fake-key";

const fields = ["contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig"];
const configFields = [
  "temperature",
  "topP",
  "topK",
  "maxOutputTokens",
  "stopSequences",
  "candidateCount",
  "responseMimeType",
  "responseSchema",
  "seed",
  "thinkingConfig",
];

interface Part {
  text?: string;
  thoughtSignature?: string;
  functionCall?: { id?: string; name?: string; args?: unknown };
  functionResponse?: { id?: string; name?: string; response?: unknown };
}

interface Content {
  role?: string;
  parts?: Part[];
}

const errorInfo = "type.googleapis.com/google.rpc.ErrorInfo";
const retryInfo = "type.googleapis.com/google.rpc.RetryInfo";

export function startGemini(answer?: FakeAnswer): Promise<Fake> {
  return startFake({ key, ...(answer === undefined ? {} : { answer }), handlers: { http: serve } });
}

async function serve(exchange: FakeExchange): Promise<void> {
  const { request, url, fault } = exchange;
  const refuse = (code: number, status: string, message: string, details: object[] = []): void =>
    exchange.json(code, { error: { code, message, status, details } });
  const [, model = "", method = ""] = /^\/v1(?:beta)?\/models\/([\w.-]+):(\w+)$/.exec(url.pathname) ?? [];
  const stream = method === "streamGenerateContent";
  if (request.method !== "POST" || (!stream && method !== "generateContent")) {
    exchange.violation(`no such endpoint: ${request.method} ${url.pathname}`);
    return refuse(404, "NOT_FOUND", "Requested entity was not found.");
  }
  const shown = request.headers["x-goog-api-key"] ?? url.searchParams.get("key");
  if (shown !== key || fault === "unauthorized")
    return refuse(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [
      { "@type": errorInfo, reason: "API_KEY_INVALID", domain: "googleapis.com" },
    ]);
  if (stream && url.searchParams.get("alt") !== "sse") exchange.violation("streamed without alt=sse");
  if (fault === "rate_limited")
    return refuse(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan.", [
      { "@type": retryInfo, retryDelay: "7s" },
    ]);
  if (fault === "server_error") return refuse(500, "INTERNAL", "An internal error has occurred.");
  const body = bodyOf(exchange);
  const problem = body === undefined ? "Invalid JSON payload received." : problemOf(body, model);
  if (body === undefined || problem !== "") {
    exchange.violation(`generateContent: ${problem}`);
    return refuse(400, "INVALID_ARGUMENT", problem);
  }
  Object.assign(exchange.call.facts, body, { model });
  await speak(exchange, model, stream);
}

async function speak(exchange: FakeExchange, model: string, stream: boolean): Promise<void> {
  const { reply, calls } = answerOf(exchange);
  const counts = { promptTokenCount: usage.input, totalTokenCount: usage.input + usage.output };
  const answer = (parts: Part[], finishReason?: string): object => ({
    candidates: [
      { content: { parts, role: "model" }, index: 0, ...(finishReason === undefined ? {} : { finishReason }) },
    ],
    usageMetadata: { ...counts, ...(finishReason === undefined ? {} : { candidatesTokenCount: usage.output }) },
    modelVersion: model,
    responseId: "kq1",
  });
  const called = calls.map((call, n) => ({
    functionCall: { id: `fc${n}`, name: call.name, args: JSON.parse(call.arguments) as unknown },
    ...(n === 0 ? { thoughtSignature: "c2lnbmF0dXJl" } : {}),
  }));
  if (!stream) return speakWhole(exchange, answer([...(reply === "" ? [] : [{ text: reply }]), ...called], "STOP"));
  const event = (value: object): string => `data: ${JSON.stringify(value)}\r\n\r\n`;
  const words = wordsOf(reply).map((text) => event(answer([{ text }])));
  await speakEvents(exchange, {
    events: [...words, ...called.map((part) => event(answer([part]))), event(answer([{ text: "" }], "STOP"))],
    late: event(answer([{ text: " and more" }])),
    garbage: 'data: {"candidates": oops\r\n\r\n',
    keepAlive: "",
  });
}

/** What the API refuses with 400; "" for nothing. */
function problemOf(body: Record<string, unknown>, model: string): string {
  const config = (body.generationConfig ?? {}) as Record<string, unknown>;
  const unknown = unknownField(body, fields) || unknownField(config, configFields);
  if (unknown !== "") return `Invalid JSON payload received. Unknown name "${unknown}": Cannot find field.`;
  const contents = body.contents as Content[] | undefined;
  if (!Array.isArray(contents) || contents.length === 0)
    return "* GenerateContentRequest.contents: contents is not specified";
  if (Array.isArray(config.stopSequences) && config.stopSequences.length > 5) return "at most 5 stop sequences";
  const tools = (body.tools ?? []) as { functionDeclarations?: { name?: string }[] }[];
  for (const { name = "" } of tools.flatMap(({ functionDeclarations = [] }) => functionDeclarations))
    if (!/^[a-zA-Z_][\w.:-]{0,127}$/.test(name)) return "Invalid function name.";
  return contentsProblem(contents, model);
}

function contentsProblem(contents: readonly Content[], model: string): string {
  let open: string[] = [];
  for (const [at, { role, parts = [] }] of contents.entries()) {
    if (role !== "user" && role !== "model") return "Please use a valid role: user, model.";
    if (parts.length === 0) return `* GenerateContentRequest.contents[${at}].parts: contents.parts must not be empty.`;
    const answered = parts.flatMap(({ functionResponse }) =>
      functionResponse === undefined ? [] : [functionResponse],
    );
    if (answered.length !== open.length || answered.some(({ name = "" }, n) => name !== open[n]))
      return "Please ensure that the number of function response parts is equal to that of the function call parts.";
    if (answered.some(({ response }) => typeof response !== "object")) return "functionResponse.response: an object";
    const calls = parts.filter(({ functionCall }) => functionCall !== undefined);
    if (calls.length > 0 && contents[at - 1]?.role !== "user")
      return "Please ensure that function call turn comes immediately after a user turn or after a function response turn.";
    if (model.startsWith("gemini-3") && calls.length > 0 && calls[0]?.thoughtSignature === undefined)
      return "Function call is missing a thought_signature in functionCall parts.";
    if (parts.every(({ text, functionCall, functionResponse }) => text === "" && !functionCall && !functionResponse))
      return "contents.parts must not be empty.";
    open = calls.map(({ functionCall }) => functionCall?.name ?? "");
  }
  return contents.at(-1)?.role === "user" ? "" : "Please ensure that multiturn requests end with a user turn.";
}
