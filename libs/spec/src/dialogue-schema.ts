/** Bounds of the fields of `policy` that say how the dialogue goes. Sentences are said as they stand. */
import * as limits from "./limits.ts";
import { type Field, flag, list, map, may, must, oneOf, text, whole } from "./schema.ts";

const sentence = text(limits.SENTENCE_CHARS_MAX);
const phrase = text(limits.PHRASE_CHARS_MAX);

export const dialogueFields: Readonly<Record<string, Field>> = {
  history: may(
    map("the history", {
      turns_max: may(whole(1, limits.HISTORY_PARTS_MAX)),
      tokens_max: may(whole(16, 1_000_000)),
      summary: may(
        map("the summary of what leaves the history", {
          node: may(text(limits.ID_CHARS_MAX)),
          max_chars: may(whole(40, 8_000)),
          prompt: may(text(limits.SENTENCE_CHARS_MAX)),
        }),
      ),
    }),
  ),
  min_speech_ms: may(whole(20, 5_000)),
  back_channel: may(
    map("the back-channel words", {
      words: must(list("words", phrase, 1, limits.PHRASES_MAX)),
      max_ms: may(whole(100, 5_000)),
    }),
  ),
  echo_guard: may(flag),
  silence: may(
    map("the prompts on silence", {
      after_ms: must(whole(500, 600_000)),
      prompts: must(list("prompts", sentence, 1, limits.PROMPTS_MAX)),
      max_prompts: may(whole(1, 100)),
      // biome-ignore lint/suspicious/noThenProperty: the field's name in the file; a schema is never awaited
      then: may(oneOf("hang_up", "nothing")),
    }),
  ),
  hang_up: may(
    map("the hang-up", {
      say: may(sentence),
      phrases: may(list("phrases", phrase, 1, limits.PHRASES_MAX)),
      marker: may(text(32, { pattern: /^\S+$/, form: "one word without spaces, e.g. [hang_up]" })),
      key: may(oneOf("*", "#")),
    }),
  ),
  max_call_ms: may(whole(1_000, 24 * 3_600_000)),
  max_call_warning: may(
    map("the warning before the end of the call", { before_ms: must(whole(1_000, 600_000)), say: must(sentence) }),
  ),
};
