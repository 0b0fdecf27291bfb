import { describe, expect, test } from "vitest";
import { ManualClock } from "../testing/clocks.ts";
import { describeConformance } from "../testing/conformance.ts";
import { recorder, request } from "../testing/recorder.ts";
import { createPhrasebook, translate } from "./phrasebook.ts";

describeConformance({
  create: (clock) => createPhrasebook({ clock }),
  clock: "manual",
  settings: { chunk_ms: 10 },
  feed: (invocation) => invocation.push({ kind: "messages", messages: [{ role: "user", text: "hello" }] }),
  badSetting: { name: "chunk_ms", value: true },
});

describe("local/phrasebook", () => {
  test.each([
    ["Hello, how are you?", "en", "de", "Hallo, wie geht es Ihnen?"],
    ["how many days are in june", "en", "es", "cuántos días tiene junio"],
    ["wie geht es Ihnen", "de", "en", "how are you"],
    ["nobody knows Berlin", "en", "de", "nobody knows Berlin"],
  ] as const)("%s", (text, source, target, expected) => {
    expect(translate(text, source, target)).toBe(expected);
  });

  test("F-010 streams word by word in the target language", () => {
    const clock = new ManualClock();
    const sink = recorder();
    const settings = { source_language: "en-US", target_language: "es", chunk_ms: 5 };
    const open = request({ modality: "llm", provider: "local/phrasebook", settings });
    const invocation = createPhrasebook({ clock }).open(open, sink);
    invocation.push({ kind: "messages", messages: [{ role: "user", text: "good morning" }] });
    invocation.finish();
    clock.advance(50);
    expect(sink.chunks.map((chunk) => (chunk.kind === "text" ? [chunk.text, chunk.language] : []))).toEqual([
      ["buenos", "es"],
      [" días", "es"],
    ]);
    expect(sink.outcomes.map(({ kind }) => kind)).toEqual(["success"]);
  });

  test("an unknown language is an error that names the known ones", () => {
    const clock = new ManualClock();
    const sink = recorder();
    const open = request({ modality: "llm", provider: "local/phrasebook", settings: { target_language: "fr" } });
    createPhrasebook({ clock }).open(open, sink);
    clock.advance(10);
    expect(sink.outcomes).toMatchObject([{ kind: "error", detail: "the phrasebook knows en, de, es" }]);
  });
});
