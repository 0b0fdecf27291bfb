/** The fake of each vendor in the gateway's catalogue, and what its adapter is told besides URL and key. */
import { startAnthropic } from "./anthropic/server.ts";
import { startAssemblyAi } from "./assemblyai/server.ts";
import { startCohere } from "./cohere/server.ts";
import { startDeepgram } from "./deepgram/server.ts";
import { startElevenLabsFake } from "./elevenlabs/server.ts";
import type { Fake } from "./fake.ts";
import { startGemini } from "./gemini/server.ts";
import { startGoogleSpeech } from "./google-speech/server.ts";
import { startOpenAi } from "./openai/server.ts";
import { startOpenAiSpeechFake } from "./openai/speech.ts";
import { startOpenAiTranscriptions } from "./openai/transcriptions.ts";
import { pollyKeyId, pollyRegion, startPollyFake } from "./polly/server.ts";

export interface FakeVendor {
  readonly start: () => Promise<Fake>;
  readonly options?: Readonly<Record<string, string>>;
}

export const fakeVendors: Readonly<Record<string, FakeVendor>> = {
  "anthropic/chat": { start: () => startAnthropic() },
  "assemblyai/stt": { start: startAssemblyAi },
  "cohere/chat": { start: () => startCohere() },
  "deepgram/stt": { start: startDeepgram },
  "elevenlabs/tts": { start: startElevenLabsFake },
  "gemini/chat": { start: () => startGemini() },
  "google/stt": { start: startGoogleSpeech },
  "openai/chat": { start: () => startOpenAi() },
  "openai/stt": { start: startOpenAiTranscriptions },
  "openai/tts": { start: startOpenAiSpeechFake },
  "polly/tts": { start: startPollyFake, options: { access_key_id: pollyKeyId, region: pollyRegion } },
};
