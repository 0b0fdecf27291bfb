import { SessionStateSchema } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { EventKindSchema } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { expect, test } from "vitest";
import { allWords, eventKinds, sessionStates, valueOfWord, wordOf } from "./enum-words.ts";

test("the words of options are those of the contracts", () => {
  expect(allWords(SessionStateSchema)).toEqual([...sessionStates]);
  expect(allWords(EventKindSchema)).toEqual([...eventKinds]);
  for (const word of eventKinds) expect(wordOf(EventKindSchema, valueOfWord(EventKindSchema, word))).toBe(word);
  expect([wordOf(EventKindSchema, 0), wordOf(EventKindSchema, 99)]).toEqual(["", "#99"]);
});
