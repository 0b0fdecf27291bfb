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
} as const satisfies ConfigFields;

export type ReplayConfig = ConfigValues<typeof replayFields>;
