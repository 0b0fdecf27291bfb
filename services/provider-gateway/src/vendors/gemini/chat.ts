/** `gemini/chat`: Google's Gemini API through its SDK. */
import {
  ApiError,
  type Content,
  type FunctionDeclaration,
  type GenerateContentParameters,
  type GenerateContentResponse,
  GoogleGenAI,
  type Part,
} from "@google/genai";
import type { ChatMessage, ToolOffer } from "@rspp/ports/provider";
import type { ManagedProvider } from "../../attempt.ts";
import { inTurns, OPENING, objectOf, systemOf } from "../chat/conversation.ts";
import { type ChatAsk, chatProvider } from "../chat/provider.ts";
import { temperatureOf } from "../chat/settings.ts";
import type { ChatTurn, Finish } from "../chat/turn.ts";
import type { VendorAccess } from "../vendor.ts";

const specs = {
  /** Tokens it may think before it speaks; 0: none. Default: none of models 2.5 flash, of others as they are made. */
  thinking_budget: { type: "number", default: -1, min: -1, max: 65_536 },
} as const;
type Ask = ChatAsk<typeof specs>;

export function createGeminiChat(access: VendorAccess): ManagedProvider {
  return chatProvider(access, { name: "gemini/chat", model: "gemini-2.5-flash", specs, speak, codeOf });
}

/** How its answer ended, where that is an error. */
class GeminiFinish extends Error {
  readonly code: string;

  constructor(code: string) {
    super("the model ended with an error");
    this.code = code;
  }
}

/** Its message is the body as JSON: `status`, and the `reason` of a detail such as API_KEY_INVALID, are words of the API. */
function codeOf(error: unknown): string | undefined {
  if (error instanceof GeminiFinish) return error.code;
  if (!(error instanceof ApiError)) return undefined;
  const words = [...error.message.matchAll(/\\?"(?:status|reason)\\?"\s*:\s*\\?"([A-Z_]{1,64})\\?"/g)];
  return words.map(([, word = ""]) => word).join(" ");
}

async function speak(ask: Ask, turn: ChatTurn): Promise<void> {
  const { baseUrl, key, values } = ask;
  const client = new GoogleGenAI({
    apiKey: key ?? "",
    vertexai: false,
    httpOptions: { baseUrl, fetch: turn.fetch },
  });
  const body = bodyOf(ask);
  if (!values.streaming) {
    const whole = await client.models.generateContent(body);
    turn.heard();
    const finish = hear(whole, turn, { calls: 0 });
    if (finish !== undefined) turn.complete(finish);
    return;
  }
  const seen = { calls: 0 };
  let finish: Finish | undefined;
  for await (const event of await client.models.generateContentStream(body)) {
    if (turn.done) return;
    turn.heard();
    finish = hear(event, turn, seen) ?? finish;
  }
  // Usage may come after the reason, so the end of the stream is the answer's.
  if (finish !== undefined) turn.complete(finish);
}

function bodyOf({ values, messages, tools }: Ask): GenerateContentParameters {
  const { model, max_tokens, stop, thinking_budget } = values;
  const temperature = temperatureOf(values);
  const system = systemOf(messages);
  const thinks = thinking_budget >= 0 || model.startsWith("gemini-2.5-flash");
  return {
    model,
    contents: contentsOf(messages, model),
    config: {
      maxOutputTokens: max_tokens,
      ...(system === "" ? {} : { systemInstruction: system }),
      ...(temperature === undefined ? {} : { temperature }),
      ...(stop.length === 0 ? {} : { stopSequences: [...stop].slice(0, 5) }),
      ...(tools.length === 0 ? {} : { tools: [{ functionDeclarations: tools.map(toolOf) }] }),
      ...(thinks ? { thinkingConfig: { thinkingBudget: Math.max(0, thinking_budget) } } : {}),
    },
  };
}

function toolOf({ name, description, parameters }: ToolOffer): FunctionDeclaration {
  return { name, description, parametersJsonSchema: objectOf(parameters) };
}

function contentsOf(messages: readonly ChatMessage[], model: string): Content[] {
  const names = new Map(messages.flatMap(({ toolCalls = [] }) => toolCalls.map((call) => [call.callId, call.name])));
  // From version 3 on the first call of a turn is signed by the model that made it; this stands for calls that were not.
  const signed = /^gemini-(?:[012][.-]|pro|flash)/.test(model) ? {} : { thoughtSignature: unsigned };
  const partsOf = ({ role, text, toolCalls = [], callId = "" }: ChatMessage): Part[] => {
    if (role === "tool") {
      const response = { result: text };
      return [{ functionResponse: { id: callId, name: names.get(callId) ?? "", response } }];
    }
    const calls = toolCalls.map(({ callId: id, name, arguments: args }, at) => ({
      functionCall: { id, name, args: objectOf(args) },
      ...(at === 0 ? signed : {}),
    }));
    return text === "" ? calls : [{ text }, ...calls];
  };
  return inTurns<Part>(messages, partsOf, { text: OPENING }).map(({ side, parts }) => ({
    role: side === "model" ? "model" : "user",
    parts,
  }));
}

/** As published for histories that hold no signature. */
const unsigned = "skip_thought_signature_validator";

/** What it says goes to the turn; how it ends, once it does, is returned. */
function hear(event: GenerateContentResponse, turn: ChatTurn, seen: { calls: number }): Finish | undefined {
  const { promptFeedback, usageMetadata, candidates } = event;
  const thought = usageMetadata?.thoughtsTokenCount ?? 0;
  const answered = usageMetadata?.candidatesTokenCount;
  turn.used(usageMetadata?.promptTokenCount, answered === undefined ? undefined : answered + thought);
  if (promptFeedback?.blockReason !== undefined) return "filtered";
  const candidate = candidates?.[0];
  for (const part of candidate?.content?.parts ?? []) {
    if (part.thought === true) continue;
    if (part.text !== undefined) turn.text(part.text);
    const call = part.functionCall;
    if (call?.name === undefined) continue;
    const args = JSON.stringify(call.args ?? {});
    turn.calls([{ index: seen.calls++, id: call.id ?? "", function: { name: call.name, arguments: args } }]);
  }
  return candidate?.finishReason === undefined ? undefined : finishOf(candidate.finishReason);
}

const filtered = /SAFETY|RECITATION|BLOCKLIST|PROHIBITED_CONTENT|SPII/;

function finishOf(reason: string): Finish {
  if (filtered.test(reason)) return "filtered";
  if (reason === "MAX_TOKENS") return "length";
  // A function call that is no JSON, a response that is malformed.
  if (reason.startsWith("MALFORMED")) throw new TypeError("malformed");
  if (reason === "OTHER" || reason === "LANGUAGE") throw new GeminiFinish(reason);
  return "stop";
}
