/** `openai/chat`: OpenAI's chat completions, and every server that speaks them (Ollama, vLLM, llama.cpp, Groq …). */
import type { ManagedProvider } from "../../attempt.ts";
import type { ToolCallDelta } from "../chat/gathered-calls.ts";
import { type ChatAsk, chatProvider } from "../chat/provider.ts";
import { temperatureOf } from "../chat/settings.ts";
import type { ChatTurn, Finish } from "../chat/turn.ts";
import type { VendorAccess } from "../vendor.ts";
import { messageOf, toolsOf } from "./messages.ts";
import { readSse } from "./sse.ts";

const specs = {
  /** Of models that think: none, minimal, low, medium, high. Empty: not told. */
  reasoning_effort: { type: "string", default: "" },
} as const;

type Ask = ChatAsk<typeof specs>;

export function createOpenAiChat(access: VendorAccess): ManagedProvider {
  return chatProvider(access, { name: "openai/chat", model: "gpt-4o-mini", specs, speak, codeOf });
}

interface Choice {
  delta?: Said;
  message?: Said;
  finish_reason?: string | null;
}

interface Said {
  content?: string | null;
  refusal?: string | null;
  tool_calls?: ToolCallDelta[];
}

/** A whole answer, or an event of one that is streamed. */
interface Completion {
  error?: { code?: unknown; type?: unknown } | null;
  choices?: Choice[];
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
}

/** An error that the endpoint told in its own words. */
class EndpointError extends Error {
  readonly code: string;

  constructor(code: string) {
    super("the endpoint reported an error");
    this.code = code;
  }
}

const codeOf = (error: unknown): string | undefined => (error instanceof EndpointError ? error.code : undefined);

async function speak(ask: Ask, turn: ChatTurn): Promise<void> {
  const { baseUrl, key, values, idempotencyKey } = ask;
  const response = await turn.fetch(`${baseUrl}/chat/completions`, {
    method: "POST",
    headers: {
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      "content-type": "application/json",
      "idempotency-key": idempotencyKey,
    },
    body: JSON.stringify(bodyOf(ask)),
  });
  if (!response.ok) throw new EndpointError(await errorCode(response));
  if (!values.streaming) {
    const whole = (await response.json()) as Completion;
    turn.heard();
    return turn.complete(hear(whole, turn) ?? "stop");
  }
  await stream(response, turn);
}

async function stream(response: Response, turn: ChatTurn): Promise<void> {
  let finish: Finish | undefined;
  for await (const data of readSse(response.body ?? new ReadableStream<Uint8Array>())) {
    if (turn.done) return;
    turn.heard();
    if (data === "[DONE]") return turn.complete(finish ?? "stop");
    finish = hear(JSON.parse(data) as Completion, turn) ?? finish;
  }
  // Some servers leave the last word out.
  if (finish !== undefined) turn.complete(finish);
}

function bodyOf({ baseUrl, values, messages, tools }: Ask): Record<string, unknown> {
  const { model, max_tokens, stop, streaming, reasoning_effort } = values;
  const temperature = temperatureOf(values);
  return {
    model,
    messages: messages.map(messageOf),
    ...toolsOf(tools),
    ...(temperature === undefined ? {} : { temperature }),
    // OpenAI's newer models refuse the older name; other servers know no other.
    [new URL(baseUrl).hostname === "api.openai.com" ? "max_completion_tokens" : "max_tokens"]: max_tokens,
    ...(stop.length === 0 ? {} : { stop }),
    ...(reasoning_effort === "" ? {} : { reasoning_effort }),
    ...(streaming ? { stream: true, stream_options: { include_usage: true } } : {}),
  };
}

/** What it says goes to the turn; how it ends, once it does, is returned. */
function hear(event: Completion, turn: ChatTurn): Finish | undefined {
  if (event.error) throw new EndpointError(`${String(event.error.code)} ${String(event.error.type)}`);
  turn.used(event.usage?.prompt_tokens, event.usage?.completion_tokens);
  const choice = event.choices?.[0];
  const said = choice?.delta ?? choice?.message;
  if (said?.refusal) turn.complete("refused");
  if (typeof said?.content === "string") turn.text(said.content);
  turn.calls(said?.tool_calls ?? []);
  switch (choice?.finish_reason ?? null) {
    case null:
      return undefined;
    case "content_filter":
      return "filtered";
    case "length":
      return "length";
    default:
      return "stop";
  }
}

/** The error's code and type from its JSON body; never its message, which may repeat the prompt. */
async function errorCode(response: Response): Promise<string> {
  try {
    const { error } = (await response.json()) as Completion;
    return `${String(error?.code ?? "")} ${String(error?.type ?? "")}`;
  } catch {
    return "";
  }
}
