import type { Clock } from "@rspp/ports/clock";
import { Attempt, endedInvocation, type ManagedProvider } from "../attempt.ts";
import { readSettings } from "../settings.ts";
import { Pace, sendPaced, simSpecs } from "../sim/pace.ts";

const specs = {
  first_chunk_ms: simSpecs.first_chunk_ms,
  /** Between words. */
  chunk_ms: simSpecs.chunk_ms,
  /** Language tags; only their first part counts. */
  source_language: { type: "string", default: "en" },
  target_language: { type: "string", default: "de" },
} as const;

type Page = readonly (readonly [en: string, de: string, es: string])[];

/** What a traveller needs. Longer phrases are tried first; a word that is not here is said as it is. */
const PAGE: Page = [
  ["how many days are in", "wie viele Tage hat der", "cuántos días tiene"],
  ["what are your opening hours", "wann haben Sie geöffnet", "cuál es su horario"],
  ["what can you do", "was können Sie", "qué sabe hacer"],
  ["when do you open", "wann öffnen Sie", "cuándo abren"],
  ["when do you close", "wann schließen Sie", "cuándo cierran"],
  ["tell me a story", "erzählen Sie mir eine Geschichte", "cuénteme una historia"],
  ["say that again", "sagen Sie das noch einmal", "repita eso"],
  ["how are you", "wie geht es Ihnen", "cómo está"],
  ["thank you", "danke", "gracias"],
  ["good morning", "guten Morgen", "buenos días"],
  ["good evening", "guten Abend", "buenas tardes"],
  ["what is", "was ist", "qué es"],
  ["go forward", "gehen Sie vorwärts", "siga recto"],
  ["hello", "hallo", "hola"],
  ["goodbye", "auf Wiedersehen", "adiós"],
  ["please", "bitte", "por favor"],
  ["yes", "ja", "sí"],
  ["no", "nein", "no"],
  ["help", "Hilfe", "ayuda"],
  ["plus", "plus", "más"],
  ["meters", "Meter", "metros"],
  ["one", "eins", "uno"],
  ["two", "zwei", "dos"],
  ["three", "drei", "tres"],
  ["four", "vier", "cuatro"],
  ["five", "fünf", "cinco"],
  ["six", "sechs", "seis"],
  ["seven", "sieben", "siete"],
  ["eight", "acht", "ocho"],
  ["nine", "neun", "nueve"],
  ["ten", "zehn", "diez"],
  ["january", "Januar", "enero"],
  ["february", "Februar", "febrero"],
  ["march", "März", "marzo"],
  ["june", "Juni", "junio"],
  ["july", "Juli", "julio"],
  ["december", "Dezember", "diciembre"],
];
const LANGUAGES = ["en", "de", "es"] as const;
type Language = (typeof LANGUAGES)[number];

function languageOf(tag: string): Language | undefined {
  return LANGUAGES.find((language) => language === tag.toLowerCase().split("-")[0]);
}

/** The text in the other language, phrase by phrase; punctuation and unknown words stay. */
export function translate(text: string, source: Language, target: Language): string {
  const [from, to] = [LANGUAGES.indexOf(source), LANGUAGES.indexOf(target)];
  const entries = PAGE.map((row) => [row[from] ?? "", row[to] ?? ""] as const).sort(([a], [b]) => b.length - a.length);
  let out = "";
  for (let at = 0; at < text.length; ) {
    const begins = at === 0 || !/[\p{L}\p{N}]/u.test(text.charAt(at - 1));
    const found = begins ? entries.find(([phrase]) => standsAt(text, at, phrase)) : undefined;
    out += found === undefined ? text.charAt(at) : found[1];
    at += found?.[0].length ?? 1;
  }
  const first = out.trimStart();
  return /^\s*\p{Lu}/u.test(text) ? first.charAt(0).toUpperCase() + first.slice(1) : first;
}

function standsAt(text: string, at: number, phrase: string): boolean {
  const end = at + phrase.length;
  return (
    text.slice(at, end).toLowerCase() === phrase.toLowerCase() &&
    (end >= text.length || !/[\p{L}\p{N}]/u.test(text.charAt(end)))
  );
}

/**
 * `local/phrasebook`: translates common phrases between English, German and Spanish without a model; words it does not know
 * stay as they are. For translator nodes. Settings: `source_language`, `target_language`, `first_chunk_ms`, `chunk_ms`.
 */
export function createPhrasebook(options: { clock: Clock }): ManagedProvider {
  const { clock } = options;
  return {
    name: "local/phrasebook",
    modality: "llm",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const source = languageOf(read.values.source_language);
      const target = languageOf(read.values.target_language);
      if (source === undefined || target === undefined)
        return endedInvocation(clock, sink, "error", `the phrasebook knows ${LANGUAGES.join(", ")}`);
      const attempt = new Attempt(sink);
      const exact = { ...read.values, jitter_ms: 0, distribution: "uniform", seed: "", fault: "none" };
      const pace = new Pace(clock, attempt, request, exact);
      let started = false;
      return {
        push(input) {
          if (input.kind !== "messages" || started) return;
          started = true;
          const said = input.messages.findLast((message) => message.role === "user")?.text ?? "";
          const words = translate(said, source, target).match(/\s*\S+/g) ?? [];
          if (words.length === 0) {
            pace.after(0, () => attempt.end("empty", "nothing to translate"));
            return;
          }
          sendPaced(
            pace,
            words,
            (text, revision) =>
              attempt.chunk({ kind: "text", text, segment: 0, revision, final: false, language: target }),
            () => attempt.end("success", "", { outputTokens: words.length }),
          );
        },
        finish() {
          if (!started) pace.after(0, () => attempt.end("empty", "finished without messages"));
        },
        cancel: () => attempt.end("cancelled", "cancelled"),
      };
    },
  };
}
