import { portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { limits as shared } from "@rspp/transport/limits";
import { transportFields } from "@rspp/transport/service";
import { limits } from "./limits.ts";

/** Every key of the WebSocket adapter. */
export const websocketFields = {
  ...transportFields(7106),
  websocket_port: portField(7206, "Port that callers connect to; 0 picks a free one"),
  advertise_url: {
    kind: "text",
    about: "Address that routes give to callers, e.g. wss://voice.example.com/v1/session; else host and websocket_port",
    fallback: "",
    charsMax: 1_024,
  },
  origins: {
    kind: "text",
    about: "Origins of the pages that may connect, with commas between; none: all, since the token admits",
    fallback: "",
    charsMax: 4_096,
  },
  realtime_routes: {
    kind: "text",
    about:
      "Tenant whose pipelines a client of /v1/realtime may name as its model, with an access token that may ask for routes as its key; none: the key is the token of a route",
    fallback: "",
    charsMax: 64,
  },
  compression: {
    kind: "choice",
    about: "permessage-deflate for clients that offer it",
    fallback: "off",
    of: ["on", "off"],
  },
  connections_max: {
    kind: "whole",
    about: "Connections; more are refused",
    fallback: limits.CONNECTIONS_MAX,
    min: 1,
    max: limits.CONNECTIONS_MAX,
  },
  resume_within_ms: {
    kind: "whole",
    about: "How long a caller who is cut off may be away",
    fallback: shared.RESUME_WITHIN_MS,
    min: 0,
    max: shared.RESUME_WITHIN_MS,
  },
} as const satisfies ConfigFields;

export type WebSocketConfig = ConfigValues<typeof websocketFields>;
