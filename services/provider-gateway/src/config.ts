import { commonFields, peerField, portField, streamPortAbout } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";

/** Every key of the provider gateway. */
export const gatewayFields = {
  port: portField(7104),
  stream_port: portField(7204, streamPortAbout),
  ...commonFields,
  registry: peerField("Base URL of the registry, to be seen there; empty: not reported"),
  region: { kind: "text", about: "Region it is reported in", fallback: "", charsMax: 64 },
  advertise_address: {
    kind: "text",
    about: "host:port that runtimes reach its stream port by; else host and stream_port",
    fallback: "",
    charsMax: 1_024,
  },
  invocations_max: {
    kind: "whole",
    about: "Invocations at once; more end in overload",
    fallback: 1_024,
    min: 1,
    max: 16_384,
  },
  openai_base_url: {
    kind: "text",
    about: "An OpenAI-compatible endpoint for openai/chat, e.g. https://api.openai.com/v1; also OPENAI_BASE_URL",
    fallback: "",
    charsMax: 1_024,
  },
  tool_origins: {
    kind: "text",
    about: "Origins that tools of pipelines may call, comma-separated, e.g. https://tools.example.org; * for any",
    fallback: "",
    charsMax: 4_096,
  },
  tool_commands: {
    kind: "text",
    about: "Programs of MCP servers that pipelines may name, comma-separated: name=program argument …",
    fallback: "",
    charsMax: 4_096,
  },
  tool_secrets: {
    kind: "text",
    about: "References to secrets that headers of tools may name, comma-separated, e.g. env:SHOP_KEY",
    fallback: "",
    charsMax: 4_096,
  },
  provider_prices: {
    kind: "text",
    about:
      "What providers cost, comma-separated name=N: millionths of money for 1000 tokens or characters, or a minute of audio",
    fallback: "",
    charsMax: 4_096,
  },
  openai_api_key: { kind: "secret", about: "Its key; pipelines never name another", fallback: "" },
} as const satisfies ConfigFields;

export type GatewayConfig = ConfigValues<typeof gatewayFields>;
