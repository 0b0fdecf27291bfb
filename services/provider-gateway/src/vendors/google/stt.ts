import { SpeechClient } from "@google-cloud/speech";
import type { ManagedProvider } from "../../attempt.ts";
import { httpUrl } from "../stt/line-socket.ts";
import { type Asked, createRecogniser } from "../stt/provider.ts";
import { recogniserSpecs } from "../stt/settings.ts";
import type { VendorAccess } from "../vendor.ts";
import { type GoogleChannel, googleChannel } from "./channel.ts";
import { GoogleLine } from "./live.ts";
import { recognise } from "./recognise.ts";

export const googleSpecs = {
  ...recogniserSpecs,
  model: { type: "string", default: "latest_long" },
  /** Punctuation and capitals. */
  punctuation: { type: "boolean", default: true },
} as const;

export type GoogleAsked = Asked<typeof googleSpecs>;

/** One client, and with it one connection, for all calls to an endpoint. */
export interface Reached {
  readonly baseUrl: string;
  readonly client: SpeechClient;
  readonly channel: GoogleChannel;
}

/** `google/stt`: Cloud Speech-to-Text v1 over gRPC, streamed or in one request, with an API key. */
export function createGoogleStt(access: VendorAccess): ManagedProvider {
  let reached: Reached | undefined;
  const reach = (): Reached => {
    const baseUrl = httpUrl(access.baseUrl);
    if (reached?.baseUrl === baseUrl) return reached;
    void reached?.client.close().catch(() => {});
    const channel = googleChannel("@google-cloud/speech", baseUrl, () => access.key());
    reached = { baseUrl, channel, client: new SpeechClient(channel.options) };
    return reached;
  };
  return createRecogniser(access, {
    name: "google/stt",
    specs: googleSpecs,
    live: {
      // A hundred milliseconds is the vendor's advice; without audio it gives a stream up.
      shape: { minMs: 100, maxMs: 400, keepAliveMs: 4_000 },
      connect: (asked, events) => new GoogleLine(reach(), asked, events),
    },
    gathered: (asked, request) => recognise(reach(), asked, request),
    warm: async () => {
      await reach()
        .client.initialize()
        .catch(() => {});
    },
    close: async () => {
      await reached?.client.close().catch(() => {});
      reached = undefined;
    },
  });
}
