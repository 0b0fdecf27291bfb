/**
 * A fake of Amazon Polly's `SynthesizeSpeech` (developer guide): `POST /v1/speech` signed with Signature Version 4, raw PCM in a
 * chunked body, speech marks as a JSON object a line with offsets in bytes of the text.
 */
import { type Fake, fakeSpeech } from "../fake.ts";
import { type FakeExchange, startFake } from "../server.ts";
import { signatureProblem } from "./signature.ts";

export const pollyKeyId = "AKIDFAKE0000000001";
export const pollyRegion = "eu-central-1";
const key = "fake/secret+of/polly";

const fields = [
  "Engine",
  "LanguageCode",
  "LexiconNames",
  "OutputFormat",
  "SampleRate",
  "SpeechMarkTypes",
  "Text",
  "TextType",
  "VoiceId",
];

export function startPollyFake(): Promise<Fake> {
  return startFake({ key, answer: { audioMs: 200 }, handlers: { http: answer } });
}

interface Body {
  readonly OutputFormat?: string;
  readonly SampleRate?: string;
  readonly SpeechMarkTypes?: readonly string[];
  readonly Text?: string;
  readonly TextType?: string;
  readonly VoiceId?: string;
  readonly Engine?: string;
}

async function answer(exchange: FakeExchange): Promise<void> {
  const { request, url, fault, call } = exchange;
  if (request.method !== "POST" || url.pathname !== "/v1/speech") {
    exchange.violation(`${request.method} ${url.pathname} is not served`);
    return refuse(exchange, 404, "UnknownOperationException");
  }
  const signer = { keyId: pollyKeyId, secret: key, region: pollyRegion, service: "polly" };
  const unsigned = signatureProblem(request, url, exchange.body, signer);
  if (unsigned !== "" || fault === "unauthorized")
    return refuse(exchange, 403, unsigned === "" ? "UnrecognizedClientException" : unsigned);
  if (fault === "rate_limited") return refuse(exchange, 400, "ThrottlingException");
  if (fault === "server_error") return refuse(exchange, 500, "ServiceFailureException");
  const body = JSON.parse(exchange.body.toString("utf8")) as Body;
  Object.assign(call.facts, body);
  const problem = problemOf(body);
  if (problem !== "") {
    exchange.violation(`400: ${problem}`);
    return refuse(exchange, 400, problem);
  }
  return body.OutputFormat === "json" ? sendMarks(exchange, body) : speak(exchange, body);
}

function refuse(exchange: FakeExchange, status: number, type: string): void {
  const message = "What was sent may be repeated here: zanzibar quicksilver";
  exchange.json(status, { message }, { "x-amzn-errortype": type, "x-amzn-requestid": "00000000-0000-0000" });
}

/** "" or the exception's name. */
function problemOf(body: Body): string {
  const { OutputFormat, SampleRate, Text = "", TextType = "text", SpeechMarkTypes = [], VoiceId, Engine } = body;
  const unknown = Object.keys(body).find((field) => !fields.includes(field));
  if (unknown !== undefined || VoiceId === undefined || Text === "") return "ValidationException";
  if (!["standard", "neural", "long-form", "generative", undefined].includes(Engine))
    return "EngineNotSupportedException";
  if (Buffer.byteLength(Text) > 6_000) return "TextLengthExceededException";
  if (TextType === "ssml" && !wellFormed(Text)) return "InvalidSsmlException";
  if (OutputFormat === "json") return SpeechMarkTypes.length > 0 ? "" : "MarksNotSupportedForFormatException";
  if (SpeechMarkTypes.length > 0) return "MarksNotSupportedForFormatException";
  if (OutputFormat !== "pcm") return "ValidationException";
  return ["8000", "16000", undefined].includes(SampleRate) ? "" : "InvalidSampleRateException";
}

/** One `speak` element, every element closed in order, no bare ampersand. */
function wellFormed(ssml: string): boolean {
  if (!/^<speak[ >]/.test(ssml) || !ssml.endsWith("</speak>") || /&(?!(?:#\d+|#x[0-9a-f]+|[a-z]+);)/i.test(ssml))
    return false;
  const open: string[] = [];
  for (const [, close, name = "", self] of ssml.matchAll(/<(\/?)([a-z:-]+)[^<>]*?(\/?)>/g)) {
    if (self === "/") continue;
    if (close !== "/") open.push(name);
    else if (open.pop() !== name) return false;
  }
  return open.length === 0 && !/[<>]/.test(ssml.replace(/<\/?[a-z:-]+[^<>]*?\/?>/g, ""));
}

async function speak(exchange: FakeExchange, { SampleRate = "16000", Text = "" }: Body): Promise<void> {
  const { response, fault } = exchange;
  const { audioMs = 200, chunkMs = 0 } = exchange.answer;
  if (fault === "garbage") {
    response.writeHead(200, { "content-type": "text/html" });
    response.end("<html>zanzibar quicksilver</html>");
    return;
  }
  response.writeHead(200, { "content-type": "audio/pcm", "x-amzn-requestcharacters": String(Text.length) });
  response.flushHeaders();
  const audio = fault === "empty" ? Buffer.alloc(0) : fakeSpeech(fault, audioMs, Number(SampleRate));
  const size = 1_601;
  for (let at = 0; at < audio.length; at += size) {
    if (!(await exchange.write(audio.subarray(at, at + size)))) return;
    if (fault === "disconnect") return exchange.cut();
    if (fault === "timeout_midway" || fault === "stall") return exchange.hold();
    if (chunkMs > 0 && !(await exchange.pause(chunkMs))) return;
  }
  response.end();
}

/** Words of what is left of the text without its tags, each 100 ms after the one before. */
async function sendMarks(exchange: FakeExchange, { Text = "" }: Body): Promise<void> {
  const bare = Text.replace(/<[^>]*>/g, (tag) => " ".repeat(tag.length));
  const lines = [...bare.matchAll(/[\p{L}\p{N}]+/gu)].map(({ index, 0: value }, n) => {
    const start = Buffer.byteLength(Text.slice(0, index));
    return JSON.stringify({ time: n * 100, type: "word", start, end: start + Buffer.byteLength(value), value });
  });
  exchange.response.writeHead(200, { "content-type": "application/x-json-stream" });
  await exchange.write(`${lines.join("\n")}\n`);
  exchange.response.end();
}
