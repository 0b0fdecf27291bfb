/** What a Realtime client shows at the handshake: its key and its model (F-088). Pure. */
import type { IncomingMessage } from "node:http";
import { err, ok, type Result } from "@rspp/base/result";
import { closeCodes } from "../refusal.ts";
import { realtimeLimits as limits } from "./limits.ts";
import { invalid, type RealtimeRefusal } from "./problem.ts";

export interface Credentials {
  /** A secret. */
  readonly key: string;
  /** "" where none is named. */
  readonly model: string;
}

const KEY_PROTOCOL = "openai-insecure-api-key.";
const KEY_CHARS_MAX = 8_192;

export function credentialsOf({ headers, url = "/" }: Pick<IncomingMessage, "headers" | "url">) {
  const offered = String(headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((name) => name.trim());
  const bearer = /^Bearer +([^ ]+)$/i.exec(headers.authorization ?? "")?.[1];
  const inProtocol = offered.find((name) => name.startsWith(KEY_PROTOCOL))?.slice(KEY_PROTOCOL.length);
  const asked = URL.parse(url, "ws://host")?.searchParams;
  const model = asked?.get("model") ?? "";
  const before = headers["openai-beta"] !== undefined || offered.includes("openai-beta.realtime-v1");
  return checked(bearer ?? inProtocol ?? "", model, before, asked?.get("intent") ?? "");
}

function checked(key: string, model: string, beta: boolean, intent: string): Result<Credentials, RealtimeRefusal> {
  const refuse = (code: string, message: string, close: RealtimeRefusal["code"], param?: string) =>
    err({ problem: invalid(code, message, param), code: close });
  if (beta) {
    const message = "The beta shape of the protocol is not spoken; leave OpenAI-Beta: realtime=v1 out.";
    return refuse("beta_api_shape_disabled", message, closeCodes.badFrame);
  }
  if (key === "" || key.length > KEY_CHARS_MAX) {
    const message = "No key, or too long a one; send Authorization: Bearer <token of a route>.";
    return refuse("invalid_api_key", message, closeCodes.token);
  }
  if (model.length > limits.ID_CHARS_MAX)
    return refuse("invalid_model", "model is too long; name a pipeline.", closeCodes.badFrame, "model");
  if (intent !== "") {
    const message = "Transcription sessions are not served; leave intent out and name a pipeline in model.";
    return refuse("invalid_value", message, closeCodes.badFrame, "intent");
  }
  return ok({ key, model });
}
