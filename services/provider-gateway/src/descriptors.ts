/** What the providers that ship with RSPP can do, for `ListProviders`. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";
import {
  type ProviderCapabilitiesSchema,
  type ProviderDescriptor,
  ProviderDescriptorSchema,
} from "@rspp/gen/rspp/provider/v1/provider_pb";
import { modalityToWire } from "@rspp/remote/invocation-messages";
import type { ManagedProvider } from "./attempt.ts";
import { vendorCatalogue } from "./vendors/catalogue.ts";

type Capabilities = MessageInitShape<typeof ProviderCapabilitiesSchema>;

const pcm16k = [{ codec: AudioCodec.PCM_S16LE, sampleRateHz: 16_000, channels: 1 }];
const llm: Capabilities = { streamingOutput: true };
const calling: Capabilities = { ...llm, tools: true };
const tts: Capabilities = { streamingInput: true, streamingOutput: true, wordTimings: true, outputFormats: pcm16k };
const stt: Capabilities = { streamingInput: true, partialResults: true, inputFormats: pcm16k, languages: ["en-US"] };

interface About {
  readonly terms: string;
  readonly capabilities: Capabilities;
  /** Why it may not be there, and what to do. */
  readonly absent?: string;
}

const known: Readonly<Record<string, About>> = {
  "local/flite": { terms: "flite, small English voices", capabilities: { ...tts, languages: ["en-US"] } },
  "local/pocketsphinx": {
    terms: "pocketsphinx with a grammar",
    capabilities: { ...stt, grammar: true },
    absent: "pocketsphinx is not installed; apt-get install pocketsphinx pocketsphinx-en-us",
  },
  "local/responder": { terms: "a small deterministic agent without a model", capabilities: calling },
  "sim/stt": { terms: "a simulated recogniser that says its transcripts", capabilities: { ...stt, keyTerms: true } },
  "sim/llm": { terms: "a simulated model", capabilities: calling },
  "sim/batch": { terms: "a simulated model that answers several calls in one request", capabilities: {} },
  "sim/tts": { terms: "a simulated voice", capabilities: { ...tts, pronunciations: true } },
  "tool/http": {
    terms: "tools behind webhooks",
    capabilities: {},
    absent: "no tool may be called; set tool_origins",
  },
  "tool/mcp": {
    terms: "tools of MCP servers",
    capabilities: {},
    absent: "no tool may be called; set tool_origins or tool_commands",
  },
};

const vendors: ReadonlyMap<string, About> = new Map(
  vendorCatalogue.map(({ name, terms, capabilities, keyVariable, baseUrlVariable, keyOptional }) => {
    const either = keyOptional ? ` or ${baseUrlVariable}` : "";
    return [name, { terms, capabilities, absent: `not configured; set ${keyVariable}${either}` }];
  }),
);

export function describeProviders(providers: readonly ManagedProvider[]): readonly ProviderDescriptor[] {
  return providers.map((provider) => {
    const { name, modality } = provider;
    const there = provider.available?.() ?? true;
    const about = known[name] ?? vendors.get(name);
    return create(ProviderDescriptorSchema, {
      name,
      modality: modalityToWire(modality),
      capabilities: about?.capabilities ?? {},
      terms: about?.terms ?? "",
      available: there,
      ...(there ? {} : { unavailableReason: about?.absent ?? "it is not available here" }),
    });
  });
}
