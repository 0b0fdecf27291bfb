import type { Clock } from "@rspp/ports/clock";
import type { Invocation, InvocationInput, InvocationOpen, InvocationSink, OutcomeKind } from "@rspp/ports/provider";
import { Attempt, endedInvocation, type ManagedProvider } from "../../attempt.ts";
import { readSettings, type SettingValues } from "../../settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { readSse } from "./sse.ts";
import { type Asked, GatheredCalls, messageOf, type ToolCallDelta, toolsOf } from "./tools.ts";

const specs = {
  model: { type: "string", default: "gpt-4o-mini" },
  /** System message put before the conversation; empty: none. */
  prompt: { type: "string", default: "" },
  temperature: { type: "number", default: 0.7, min: 0, max: 2 },
  max_tokens: { type: "number", default: 300, min: 1, max: 16_384 },
  /** Bound of the whole answer, in real time. */
  total_timeout_ms: { type: "number", default: 60_000, min: 1, max: 600_000 },
} as const;

type Values = SettingValues<typeof specs>;
const textCharsMax = 64 * 1024;

/** `openai/chat`: any OpenAI-compatible chat endpoint, streamed. Starts when the messages arrive. */
export function createOpenAiChat(access: VendorAccess): ManagedProvider {
  const { clock } = access;
  return {
    name: "openai/chat",
    modality: "llm",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      return new Chat(clock, { baseUrl: access.baseUrl, key: access.key(), values: read.values, request }, sink);
    },
  };
}

interface ChatConfig {
  baseUrl: string;
  key: string | undefined;
  values: Values;
  request: InvocationOpen;
}

interface StreamEvent {
  error?: { code?: string | null; type?: string };
  choices?: {
    delta?: { content?: string | null; refusal?: string | null; tool_calls?: ToolCallDelta[] };
    finish_reason?: string | null;
  }[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
}

class Chat implements Invocation {
  readonly #clock: Clock;
  readonly #config: ChatConfig;
  readonly #attempt: Attempt;
  readonly #abort = new AbortController();
  #started = false;
  #revision = 0;
  #chars = 0;
  readonly #calls: GatheredCalls;
  #finishReason: string | undefined;
  #usage: { inputTokens?: number; outputTokens?: number } = {};

  constructor(clock: Clock, config: ChatConfig, sink: InvocationSink) {
    this.#clock = clock;
    this.#config = config;
    this.#attempt = new Attempt(sink);
    this.#calls = new GatheredCalls(config.request.invocationId);
    this.#attempt.onEnd(() => this.#abort.abort());
  }

  push(input: InvocationInput): void {
    if (input.kind !== "messages" || this.#started || this.#attempt.done) return;
    this.#started = true;
    this.#attempt.onEnd(this.#clock.hold());
    const guard = setTimeout(
      () => this.#attempt.end("timeout", "the answer took longer than setting `total_timeout_ms`"),
      this.#config.values.total_timeout_ms,
    );
    this.#attempt.onEnd(() => clearTimeout(guard));
    this.#run(input).catch((error: unknown) => this.#attempt.end(...normaliseFailure(error)));
  }

  finish(): void {
    if (this.#started || this.#attempt.done) return;
    const end = () => this.#attempt.end("empty", "finished without messages");
    const timer = this.#clock.timerAt(this.#clock.nowNs(), end);
    this.#attempt.onEnd(() => timer.clear());
  }

  cancel(): void {
    this.#attempt.end("cancelled", "cancelled");
  }

  async #run({ messages, tools = [] }: Asked): Promise<void> {
    const { baseUrl, key, values, request } = this.#config;
    const system = values.prompt === "" ? [] : [{ role: "system", content: values.prompt }];
    const response = await fetch(`${baseUrl}/chat/completions`, {
      method: "POST",
      signal: this.#abort.signal,
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        "content-type": "application/json",
        "idempotency-key": request.idempotencyKey,
      },
      body: JSON.stringify({
        model: values.model,
        messages: [...system, ...messages.map(messageOf)],
        ...toolsOf(tools),
        temperature: values.temperature,
        max_tokens: values.max_tokens,
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
    if (!response.ok || response.body === null) {
      const code = await errorCode(response);
      this.#attempt.end(...normaliseStatus(response.status, code));
      return;
    }
    for await (const data of readSse(response.body)) {
      if (data === "[DONE]") return this.#complete();
      this.#event(JSON.parse(data) as StreamEvent);
      if (this.#attempt.done) return;
    }
    if (this.#finishReason === undefined) this.#attempt.end("disconnect", "the stream ended before the answer did");
    else this.#complete();
  }

  #event(event: StreamEvent): void {
    if (event.error) {
      const overloaded = `${event.error.code} ${event.error.type}`.match(/rate_limit|overload/);
      this.#attempt.end(overloaded ? "overload" : "error", "the endpoint reported an error in its stream");
      return;
    }
    if (event.usage?.prompt_tokens !== undefined) this.#usage.inputTokens = event.usage.prompt_tokens;
    if (event.usage?.completion_tokens !== undefined) this.#usage.outputTokens = event.usage.completion_tokens;
    const choice = event.choices?.[0];
    if (choice?.delta?.refusal) {
      this.#attempt.end("safety_block", "the model refused");
      return;
    }
    const text = choice?.delta?.content;
    if (typeof text === "string" && text !== "") this.#text(text);
    const problem = this.#calls.add(choice?.delta?.tool_calls ?? []);
    if (problem !== "") return this.#attempt.end("error", problem);
    if (choice?.finish_reason) this.#finishReason = choice.finish_reason;
  }

  #text(text: string): void {
    this.#chars += text.length;
    if (this.#chars > textCharsMax) {
      this.#attempt.end("error", `the answer is longer than ${textCharsMax} characters`);
      return;
    }
    this.#attempt.chunk({ kind: "text", text, segment: 0, revision: this.#revision++, final: false });
  }

  #complete(): void {
    if (this.#finishReason === "content_filter") this.#attempt.end("safety_block", "content filter", this.#usage);
    else if (this.#finishReason === "length" && this.#calls.size > 0)
      this.#attempt.end("error", "the answer was cut in the middle of a tool call; raise max_tokens", this.#usage);
    else if (this.#chars === 0 && this.#calls.size === 0)
      this.#attempt.end("empty", "the answer holds no text", this.#usage);
    else this.#succeed();
  }

  #succeed(): void {
    for (const call of this.#calls.all()) this.#attempt.chunk({ kind: "tool_call", ...call });
    this.#attempt.end("success", "", this.#usage);
  }
}

/** The error's `code` from a JSON body of at most 64 KiB; never its message, which may repeat the prompt. */
async function errorCode(response: Response): Promise<string> {
  let body = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    body += decoder.decode(bytes, { stream: true });
    if (body.length > 65_536) return "";
  }
  try {
    return String((JSON.parse(body) as { error?: { code?: unknown } }).error?.code ?? "");
  } catch {
    return "";
  }
}

function normaliseStatus(status: number, code: string): [OutcomeKind, string] {
  const detail = `HTTP ${status}`;
  if (code === "content_filter" || code === "content_policy_violation") return ["safety_block", detail];
  if (status === 401 || status === 403) return ["unauthorized", `${detail}: the key was refused`];
  if (status === 429 || status === 503 || status === 529) return ["overload", detail];
  if (status === 408 || status === 504) return ["timeout", detail];
  return ["error", detail];
}

function normaliseFailure(error: unknown): [OutcomeKind, string] {
  if (error instanceof SyntaxError) return ["error", "the stream holds an event that is no JSON"];
  if (error instanceof RangeError) return ["error", "a line of the stream is too long"];
  // fetch reports every network failure as a TypeError whose cause holds the code.
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  const code = typeof cause?.code === "string" ? ` (${cause.code})` : "";
  return ["disconnect", `the connection failed${code}`];
}
