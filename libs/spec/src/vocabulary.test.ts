import { describe, expect, test } from "vitest";
import { compiled, problemsOf, small } from "./testing.ts";

const vocabulary = `${small}vocabulary:
  key_terms: [ACME, Ada Lovelace]
  pronunciations:
    - {text: SQL, say: sequel}
    - {text: tomato, ipa: təˈmɑːtəʊ}
`;

describe("X-09 the vocabulary of a pipeline", () => {
  test("X-09 key terms reach the recognisers, phonetic letters the voices, other spellings the kernel", () => {
    const { graph, policy, provenance, fingerprint } = compiled(vocabulary);
    const settingsOf = (kind: string) => graph.nodes.find((node) => node.kind === kind)?.candidates[0]?.settings;
    expect(settingsOf("stt")).toEqual({ key_terms: ["ACME", "Ada Lovelace"] });
    expect(settingsOf("tts")).toEqual({ pronunciations: ["tomato=təˈmɑːtəʊ"] });
    expect(settingsOf("llm")).toEqual({});
    expect(policy.pronunciations).toEqual([{ text: "SQL", say: "sequel" }]);
    expect(provenance["nodes.stt.candidates[0].settings.key_terms"]).toBe("spec");
    expect(provenance["policy.pronunciations"]).toBe("spec");
    expect(fingerprint).not.toBe(compiled(small).fingerprint);
    expect(compiled(small).policy.pronunciations).toBeUndefined();
  });

  test("X-09 what a candidate has of its own stays", () => {
    const own = vocabulary.replace("        - sim/stt", "        - {name: sim/stt, settings: {key_terms: [RSPP]}}");
    const stt = compiled(own).graph.nodes.find((node) => node.kind === "stt");
    expect(stt?.candidates[0]?.settings.key_terms).toEqual(["RSPP"]);
  });

  test.each([
    ["{pronunciations: [{text: SQL}]}", "vocabulary.pronunciations[0]", "missing_field"],
    ["{pronunciations: [{text: SQL, say: a, ipa: b}]}", "vocabulary.pronunciations[0]", "missing_field"],
    [
      "{pronunciations: [{text: SQL, say: a}, {text: sql, say: b}]}",
      "vocabulary.pronunciations[1].text",
      "duplicate_id",
    ],
    ["{key_terms: []}", "vocabulary.key_terms", "too_many"],
    ["{key_terms: ['{{name}}']}", "vocabulary.key_terms[0]", "unknown_variable"],
  ])("X-09 what cannot hold is refused at its field: %s", (text, path, code) => {
    expect(problemsOf(`${small}vocabulary: ${text}\n`)).toMatchObject([{ path, code }]);
  });
});
