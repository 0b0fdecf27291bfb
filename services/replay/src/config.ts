import { commonFields, databaseFields, peerField, portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";

/** Every key of the replay service. */
export const replayFields = {
  port: portField(7105),
  ...commonFields,
  ...databaseFields,
  registry: peerField(
    "Base URL of the registry, whose keys verify access tokens; empty: they are read in the database",
  ),
  objects: {
    kind: "text",
    about: "Folder of the timelines' segments; else `objects` in the data directory",
    fallback: "",
    charsMax: 4_096,
  },
  webhook_origins: {
    kind: "text",
    about:
      "Origins of private addresses that webhooks may call, e.g. `http://127.0.0.1:9000`, comma separated; else public https alone",
    fallback: "",
    charsMax: 8_192,
  },
  webhook_secrets: {
    kind: "text",
    about: "Secrets that tenants may sign webhooks with: `tenant=reference`, `*=reference` for any, comma separated",
    fallback: "",
    charsMax: 65_536,
  },
} as const satisfies ConfigFields;

export type ReplayConfig = ConfigValues<typeof replayFields>;
