import { commonFields, dataFields, peerField, portField, streamPortAbout } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { limits } from "./limits.ts";

/** Every key of the runtime. */
export const runtimeFields = {
  port: portField(7103),
  stream_port: portField(7203, streamPortAbout),
  ...commonFields,
  stop_grace_ms: { ...commonFields.stop_grace_ms, about: "Calls that run may go on when it stops" },
  ...dataFields,
  registry: peerField("Base URL of the registry", "http://127.0.0.1:7101"),
  lease: peerField("Base URL of the lease service", "http://127.0.0.1:7102"),
  gateway: peerField("Base URL of the provider gateway; empty: providers within the process, where it has any"),
  gateway_streams: {
    kind: "text",
    about: "host:port of the gateway's invocations; else as the registry knows it, else the gateway's port plus 100",
    fallback: "",
    charsMax: 1_024,
  },
  replay: peerField("Base URL of the replay service; empty: the timeline stays in the spool"),
  region: { kind: "text", about: "Region that routes prefer it for", fallback: "", charsMax: 64 },
  advertise_address: {
    kind: "text",
    about: "host:port that adapters reach its links by; else host and stream_port",
    fallback: "",
    charsMax: 1_024,
  },
  capacity_sessions: {
    kind: "whole",
    about: "Sessions at once; more are refused",
    fallback: limits.SESSIONS_MAX,
    min: 1,
    max: limits.SESSIONS_MAX,
  },
  drain_policy: {
    kind: "choice",
    about:
      "Calls that run when it stops: migrate has them go on on another runtime, where there is one; finish ends them after their turn",
    fallback: "migrate",
    of: ["migrate", "finish"],
  },
  layers: {
    kind: "text",
    about: "Folder of configuration layers (rspp/overrides/v1), laid over the pipelines of the registry; empty: none",
    fallback: "",
    charsMax: 1_024,
  },
  environment: {
    kind: "text",
    about: "Name of the environment whose layer counts, e.g. production; empty: none",
    fallback: "",
    charsMax: 64,
  },
  node_packages: {
    kind: "text",
    about:
      "Folders of node packages, or of folders of them, whose nodes run in workers, and grpc://host:port of services that run nodes; with a comma between; empty: none",
    fallback: "",
    charsMax: 4_096,
  },
  session_variables: {
    kind: "choice",
    about: "Session variables a pipeline does not declare: strict refuses the session, relaxed logs a warning",
    fallback: "relaxed",
    of: ["relaxed", "strict"],
  },
  silero: {
    kind: "choice",
    about: "The neural voice activity detector, where its model is installed",
    fallback: "auto",
    of: ["auto", "off"],
  },
} as const satisfies ConfigFields;

export type RuntimeConfig = ConfigValues<typeof runtimeFields>;
