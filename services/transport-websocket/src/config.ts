import { commonFields, peerField, portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { limits } from "./limits.ts";

/** Every key of the WebSocket adapter. */
export const websocketFields = {
  port: portField(7106, "Port of health, reflection and metrics; 0 picks a free one"),
  websocket_port: portField(7206, "Port that callers connect to; 0 picks a free one"),
  ...commonFields,
  advertise_url: {
    kind: "text",
    about: "Address that routes give to callers, e.g. wss://voice.example.com/v1/session; else host and websocket_port",
    fallback: "",
    charsMax: 1_024,
  },
  region: { kind: "text", about: "Region that routes prefer it for", fallback: "", charsMax: 64 },
  registry: peerField("Base URL of the registry", "http://127.0.0.1:7101"),
  lease: peerField("Base URL of the lease service", "http://127.0.0.1:7102"),
  origins: {
    kind: "text",
    about: "Origins of the pages that may connect, with commas between; none: all, since the token admits",
    fallback: "",
    charsMax: 4_096,
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
  sessions_max: {
    kind: "whole",
    about: "Sessions; more are refused. What routes count with",
    fallback: limits.SESSIONS_MAX,
    min: 1,
    max: limits.SESSIONS_MAX,
  },
  resume_within_ms: {
    kind: "whole",
    about: "How long a caller who is cut off may be away",
    fallback: limits.RESUME_WITHIN_MS,
    min: 0,
    max: limits.RESUME_WITHIN_MS,
  },
  failover_after_ms: {
    kind: "whole",
    about: "A runtime whose connection is lost and not back within it has its calls go on on another one",
    fallback: 1_500,
    min: 0,
    max: 30_000,
  },
  links_per_runtime: { kind: "whole", about: "Pairs of connections to one runtime", fallback: 1, min: 1, max: 4 },
} as const satisfies ConfigFields;

export type WebSocketConfig = ConfigValues<typeof websocketFields>;
