import { readSettings, type SettingValues } from "../../settings.ts";
import { type Markup, markup, plainMarkup } from "../speech/markup.ts";
import { pronunciationsOf, speechSpecs } from "../speech/settings.ts";

export const elevenLabsSpecs = {
  ...speechSpecs,
  /** The vendor's id of the voice. */
  voice: { type: "string", default: "21m00Tcm4TlvDq8ikWAM" },
  model: { type: "string", default: "eleven_flash_v2_5" },
  stability: { type: "number", default: 0.5, min: 0, max: 1 },
  similarity_boost: { type: "number", default: 0.75, min: 0, max: 1 },
  /** Pronunciation dictionaries stored with the vendor, `ID:VERSION`, at most 3. */
  pronunciation_dictionaries: { type: "strings", default: [] },
} as const;

export type ElevenLabsValues = SettingValues<typeof elevenLabsSpecs>;

export const readElevenLabsSettings = (settings: Parameters<typeof readSettings>[0]) =>
  readSettings(settings, elevenLabsSpecs);

const dictionariesMax = 3;

/** The vendor takes 0.7 to 1.2. */
export function voiceSettings({ rate, stability, similarity_boost }: ElevenLabsValues) {
  return { stability, similarity_boost, speed: Math.min(1.2, Math.max(0.7, rate)) };
}

export function dictionaries({ pronunciation_dictionaries: entries }: ElevenLabsValues) {
  const locators = entries.slice(0, dictionariesMax).map((entry) => {
    const [pronunciation_dictionary_id = "", version_id = ""] = entry.split(":");
    return { pronunciation_dictionary_id, version_id };
  });
  return locators.length === 0 ? {} : { pronunciation_dictionary_locators: locators };
}

/** The vendor takes ISO 639-1. */
export const languageCode = (language: string): string => language.split("-")[0] ?? "";

/** Models that take phoneme elements; to others they are words to be read. */
const takesPhonemes = (model: string): boolean => /^eleven_(?:flash_v2|turbo_v2|monolingual_v1)$/.test(model);

/** Whether clauses are sent as markup. */
export const sendsMarkup = ({ model, pronunciations }: ElevenLabsValues): boolean =>
  pronunciations.length > 0 && takesPhonemes(model);

/** A clause as it is sent. */
export function sentText(values: ElevenLabsValues, text: string): Markup {
  return sendsMarkup(values) ? markup(text, pronunciationsOf(values.pronunciations)) : plainMarkup(text);
}
