import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { limits as shared } from "@rspp/transport/limits";
import { transportFields } from "@rspp/transport/service";

/** Every key of the LiveKit adapter. */
export const livekitFields = {
  ...transportFields(7108),
  livekit_url: {
    kind: "text",
    about: "LiveKit server as this adapter reaches it, e.g. wss://rooms.example.com",
    fallback: "ws://127.0.0.1:7880",
    charsMax: 1_024,
  },
  livekit_client_url: {
    kind: "text",
    about: "The same as callers reach it; else livekit_url",
    fallback: "",
    charsMax: 1_024,
  },
  livekit_api_key: { kind: "text", about: "Name of the API key of the LiveKit server", fallback: "", charsMax: 128 },
  livekit_api_secret: {
    kind: "secret",
    about: "Its secret, with which the adapter makes tokens for rooms",
    fallback: "",
  },
  advertise_url: {
    kind: "text",
    about: "Address of this adapter's API that routes give, e.g. https://livekit.voice.example.com; else host and port",
    fallback: "",
    charsMax: 1_024,
  },
  resume_within_ms: {
    kind: "whole",
    about: "How long a caller who is cut off may be away",
    fallback: shared.RESUME_WITHIN_MS,
    min: 0,
    max: shared.RESUME_WITHIN_MS,
  },
} as const satisfies ConfigFields;

export type LiveKitConfig = ConfigValues<typeof livekitFields>;
