import { DeepgramClient } from "@deepgram/sdk";
import type { ManagedProvider } from "../../attempt.ts";
import { httpUrl } from "../stt/line-socket.ts";
import type { Asked } from "../stt/provider.ts";
import { createRecogniser } from "../stt/provider.ts";
import { recogniserSpecs } from "../stt/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { DeepgramLine } from "./live.ts";
import { transcribeRecorded } from "./recorded.ts";

export const deepgramSpecs = {
  ...recogniserSpecs,
  model: { type: "string", default: "nova-3" },
  /** Punctuation and capitals, and numbers as figures. */
  smart_format: { type: "boolean", default: true },
} as const;

export type DeepgramAsked = Asked<typeof deepgramSpecs>;

/** `deepgram/stt`: live over its WebSocket, recorded in one request. One client for all, but for what carries a key. */
export function createDeepgramStt(access: VendorAccess): ManagedProvider {
  return createRecogniser(access, {
    name: "deepgram/stt",
    specs: deepgramSpecs,
    live: {
      // Twenty milliseconds is what the runtime sends; the endpoint closes after ten seconds without a word.
      shape: { minMs: 20, maxMs: 250, keepAliveMs: 4_000 },
      connect: (asked, events) => new DeepgramLine(asked, events),
    },
    gathered: (asked, request) => {
      const client = new DeepgramClient({ apiKey: asked.key, baseUrl: httpUrl(asked.access.baseUrl), maxRetries: 0 });
      return transcribeRecorded(client, asked, request);
    },
  });
}
