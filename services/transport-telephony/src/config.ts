import { portField } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";
import { transportFields } from "@rspp/transport/service";
import { jitterProfiles, limits } from "./limits.ts";

/** Every key of the telephone adapter. */
export const telephonyFields = {
  ...transportFields(7107),
  telephony_port: portField(7207, "Port of the carrier's webhooks and streams; 0 picks a free one"),
  public_url: {
    kind: "text",
    about: "Where the carrier reaches this adapter, e.g. https://voice.example.com; else host and telephony_port",
    fallback: "",
    charsMax: 1_024,
  },
  numbers: {
    kind: "text",
    about: "Who answers which number: +15550100=tenant/pipeline[@version], with commas between; * for every other one",
    fallback: "",
    charsMax: 65_536,
  },
  twilio_auth_token: {
    kind: "secret",
    about: "Auth token of the Twilio account, which signs what it sends",
    fallback: "",
  },
  signature: {
    kind: "choice",
    about: "Whether X-Twilio-Signature is asked for; off: whoever reaches the port may call",
    fallback: "required",
    of: ["required", "off"],
  },
  jitter: {
    kind: "choice",
    about: "How long a packet of the caller waits for those before it: tight 20 ms, normal 80 ms, lossy 240 ms",
    fallback: "normal",
    of: Object.keys(jitterProfiles),
  },
  lead_ms: {
    kind: "whole",
    about: "Audio given to the carrier ahead of what it plays",
    fallback: 500,
    min: 60,
    max: 10_000,
  },
  mark_every_ms: { kind: "whole", about: "A mark after so much audio", fallback: 100, min: 20, max: 5_000 },
  after_url: {
    kind: "text",
    about: "Webhook that says what is next for a call whose agent has ended it, e.g. <Dial>; none: it is hung up",
    fallback: "",
    charsMax: 1_024,
  },
  machine: {
    kind: "choice",
    about: "Calls that an answering machine has taken: talk to it, hang up, or leave machine_notice",
    fallback: "talk",
    of: ["talk", "hang_up", "notice"],
  },
  machine_notice: { kind: "text", about: "Said to an answering machine", fallback: "", charsMax: 1_024 },
  connections_max: {
    kind: "whole",
    about: "Streams; more are refused",
    fallback: limits.CONNECTIONS_MAX,
    min: 1,
    max: limits.CONNECTIONS_MAX,
  },
  resume_within_ms: {
    kind: "whole",
    about: "How long a call whose stream was cut waits for another one",
    fallback: 10_000,
    min: 0,
    max: 30_000,
  },
} as const satisfies ConfigFields;

export type TelephonyConfig = ConfigValues<typeof telephonyFields>;
