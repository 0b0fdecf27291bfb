import { commonFields, peerField, portField, streamPortAbout } from "@rspp/host/common-fields";
import type { ConfigFields, ConfigValues } from "@rspp/host/config-fields";

type UrlField = { kind: "text"; about: string; fallback: ""; charsMax: number };
type KeyField = { kind: "secret"; about: string; fallback: "" };

function vendorUrl(vendor: string, variable: string): UrlField {
  return {
    kind: "text",
    about: `Endpoint in place of that of ${vendor}; also ${variable}`,
    fallback: "",
    charsMax: 1_024,
  };
}

function vendorKey(vendor: string, variable: string): KeyField {
  return { kind: "secret", about: `Key of ${vendor}; pipelines name no other; also ${variable}`, fallback: "" };
}

/** As the entries in `vendors/catalogue.ts` name them. */
function vendorFields<const V extends string>(
  name: V,
  vendor: string,
): Record<`${V}_base_url`, UrlField> & Record<`${V}_api_key`, KeyField> {
  const variable = name.toUpperCase();
  const fields = {
    [`${name}_base_url`]: vendorUrl(vendor, `${variable}_BASE_URL`),
    [`${name}_api_key`]: vendorKey(vendor, `${variable}_API_KEY`),
  };
  return fields as Record<`${V}_base_url`, UrlField> & Record<`${V}_api_key`, KeyField>;
}

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
  ...vendorFields("openai", "OpenAI, or any OpenAI-compatible endpoint, e.g. http://127.0.0.1:11434/v1 without a key"),
  ...vendorFields("anthropic", "Anthropic"),
  ...vendorFields("cohere", "Cohere"),
  ...vendorFields("gemini", "Google Gemini"),
  ...vendorFields("deepgram", "Deepgram"),
  ...vendorFields("assemblyai", "AssemblyAI"),
  ...vendorFields("elevenlabs", "ElevenLabs"),
  ...vendorFields("google", "Google Cloud speech"),
  google_stt_base_url: vendorUrl("Google Cloud Speech-to-Text", "GOOGLE_STT_BASE_URL"),
  google_tts_base_url: vendorUrl("Google Cloud Text-to-Speech", "GOOGLE_TTS_BASE_URL"),
  polly_base_url: vendorUrl("Amazon Polly", "POLLY_BASE_URL"),
  aws_secret_access_key: vendorKey("Amazon Polly", "AWS_SECRET_ACCESS_KEY"),
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
} as const satisfies ConfigFields;

export type GatewayConfig = ConfigValues<typeof gatewayFields>;
