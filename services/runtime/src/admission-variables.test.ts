import { expect, test } from "vitest";
import { readVariables } from "./admission-variables.ts";
import { limits } from "./limits.ts";

test("F-099 session variables: scalars as they are, structures as their JSON, null left out, transcripts apart", () => {
  const found = { name: '"Ada"', age: "36", member: "true", tags: '["a","b"]', nothing: "null" };
  const read = readVariables({ ...found, sim_transcripts: '["when do you open","thanks"]' });
  expect(read).toEqual({
    ok: true,
    value: {
      variables: { name: "Ada", age: 36, member: true, tags: '["a","b"]' },
      transcripts: ["when do you open", "thanks"],
      settings: {},
    },
  });
});

test.each([
  ["no JSON", { name: "Ada" }, "variables.name is no JSON: write texts in quotes"],
  ["an unfit name", { "a b": "1" }, "a session variable has an unfit name"],
  ["a long name", { ["n".repeat(65)]: "1" }, "a session variable has an unfit name"],
  [
    "a long value",
    { name: `"${"x".repeat(limits.SESSION_VARIABLE_CHARS_MAX)}"` },
    "variables.name has 4098 characters",
  ],
  ["transcripts that are no list", { sim_transcripts: '"words"' }, "variables.sim_transcripts must be a list"],
  ["transcripts with other things", { sim_transcripts: '["a",1]' }, "variables.sim_transcripts must be a list"],
  [
    "too many",
    Object.fromEntries(Array.from({ length: limits.SESSION_VARIABLES_MAX + 1 }, (_, i) => [`v${i}`, "1"])),
    "there are 65 session variables: give 64 at most",
  ],
])("%s is refused by name, and no value is repeated", (_title, found, words) => {
  const read = readVariables(found as Record<string, string>);
  expect(read.ok ? "" : read.error).toContain(words);
  expect(read.ok ? "" : read.error).not.toContain("Ada");
});
