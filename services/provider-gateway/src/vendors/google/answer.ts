/** The configuration of a request, and what Google says of a stretch of audio. */
import type { protos } from "@google-cloud/speech";
import { type Heard, heardOf, type SpokenWord } from "../stt/heard.ts";
import { fittingTerms } from "../stt/settings.ts";
import type { GoogleAsked } from "./stt.ts";

type Speech = typeof protos.google.cloud.speech.v1;
export type RecognitionConfig = NonNullable<ConstructorParameters<Speech["RecognitionConfig"]>[0]>;
type Alternative = NonNullable<ConstructorParameters<Speech["SpeechRecognitionAlternative"]>[0]>;
type Duration = NonNullable<Alternative["words"]>[number]["startTime"];

export function configOf(values: GoogleAsked["values"]): RecognitionConfig {
  const phrases = fittingTerms(values.key_terms).map((value) => ({ value }));
  return {
    encoding: "LINEAR16",
    sampleRateHertz: 16_000,
    audioChannelCount: 1,
    languageCode: values.language || "en-US",
    maxAlternatives: 1,
    enableWordTimeOffsets: true,
    enableAutomaticPunctuation: values.punctuation,
    model: values.model,
    ...(phrases.length === 0 ? {} : { adaptation: { phraseSets: [{ phrases, boost: 10 }] } }),
  };
}

/** `earlierUs` takes from an instant what was put in before it and was not the caller's. */
export function heardFrom(
  alternative: Alternative | undefined,
  about: { final: boolean; endpoint?: boolean; language?: string | null | undefined },
  earlierUs: (us: number) => number = (us) => us,
): Heard {
  const { transcript, confidence, words } = alternative ?? {};
  const spoken = (words ?? []).map(
    ({ word, startTime, endTime }): SpokenWord => ({
      text: word ?? "",
      startUs: earlierUs(durationUs(startTime)),
      endUs: earlierUs(durationUs(endTime)),
    }),
  );
  return heardOf((transcript ?? "").trim(), about.final, {
    // Zero is the vendor's word for none.
    confidence: confidence || undefined,
    language: tagOf(about.language),
    words: spoken,
    endpoint: about.endpoint,
  });
}

/** `en-US` of the vendor's `en-us`. */
function tagOf(code: string | null | undefined): string | undefined {
  if (!code) return undefined;
  const [primary = "", ...rest] = code.split("-");
  return [primary.toLowerCase(), ...rest.map((part) => (part.length === 2 ? part.toUpperCase() : part))].join("-");
}

function durationUs(duration: Duration): number {
  return Number(duration?.seconds ?? 0) * 1e6 + Number(duration?.nanos ?? 0) / 1e3;
}
