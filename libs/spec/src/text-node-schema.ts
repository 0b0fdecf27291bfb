/** Settings of the text nodes (F-010). Their rules between fields and neighbours stand in `check-text-settings.ts`. */
import type { NodeKind } from "@rspp/kernel/graph";
import { KEYPAD_DIGITS_MAX, MERGE_WAIT_MS_MAX, SCREEN_WORD_CHARS_MAX, SCREEN_WORDS_MAX } from "@rspp/kernel/limits";
import { MERGE_RULES } from "@rspp/kernel/merge";
import * as limits from "./limits.ts";
import { type Field, flag, list, may, must, oneOf, type StringSchema, text, whole } from "./schema.ts";

const language: StringSchema = text(35, {
  pattern: /^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/,
  form: "a language tag, e.g. en or de-CH",
});
const word = text(SCREEN_WORD_CHARS_MAX, {
  pattern: /^[\p{L}\p{N}_](.*[\p{L}\p{N}_])?$/u,
  form: "a word or phrase that begins and ends with a letter or digit",
});
const words = may(list("words", word, 1, SCREEN_WORDS_MAX));
const nodeIds = may(list("node ids", text(limits.ID_CHARS_MAX), 1, limits.NODES_MAX));
const action = may(oneOf("off", "mask", "replace", "block"));

export const textNodeSettings: Readonly<Partial<Record<NodeKind, Readonly<Record<string, Field>>>>> = {
  translator: {
    source_language: may(language),
    target_language: must(language),
    min_chars: may(whole(1, 500)),
    max_chars: may(whole(10, 4_000)),
  },
  merge: {
    rule: must(oneOf(...MERGE_RULES)),
    priority: nodeIds,
    wait_ms: may(whole(0, MERGE_WAIT_MS_MAX)),
  },
  select: {
    choose: must(list("conditions", text(limits.CONDITION_CHARS_MAX + limits.ID_CHARS_MAX + 16), 2, limits.NODES_MAX)),
  },
  compliance: {
    card_numbers: action,
    emails: action,
    phone_numbers: action,
    words,
    words_action: action,
    replacement: may(text(limits.LABEL_CHARS_MAX)),
    block_sentence: may(text(limits.GREETING_CHARS_MAX)),
  },
  filter: {
    final_only: may(flag),
    min_chars: may(whole(1, 10_000)),
    languages: may(list("languages", language, 1, SCREEN_WORDS_MAX)),
    drop_words: words,
    keep_words: words,
  },
  canned: {
    text: must(text(limits.GREETING_CHARS_MAX)),
    replies: may(list("replies", text(limits.GREETING_CHARS_MAX), 1, limits.SETTINGS_MAX)),
  },
  dtmf: {
    terminator: may(oneOf("#", "*", "none")),
    max_digits: may(whole(1, KEYPAD_DIGITS_MAX)),
    timeout_ms: may(whole(200, 60_000)),
    menu: may(list("menu lines", text(limits.LABEL_CHARS_MAX), 1, 16)),
  },
};
