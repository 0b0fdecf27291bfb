import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { adviceOn } from "./advice.ts";
import { documentKind } from "./document-kind.ts";
import { parseModule } from "./parse-module.ts";
import { formatProblems } from "./problem.ts";
import { edited, parsed, readSpecFile, small } from "./testing.ts";

const folder = new URL("../../../pipelines/modules/", import.meta.url);
const files = readdirSync(folder);

test.each(files)("F-001 F-019 the shipped module %s has no problem and is named by its file", (file) => {
  const text = readFileSync(new URL(file, folder), "utf8");
  const read = parseModule(text, file);
  if (!read.ok) throw new Error(formatProblems(read.error, text));
  expect(`${read.value.use}.yaml`).toBe(file);
  expect(documentKind(text)).toBe("module");
});

const listening = readFileSync(new URL("listening@1.yaml", folder), "utf8");
test.each([
  ["vad.activity -> endpointing.activity", "vad.activity -> endpointing.text", "edges[0] port_types"],
  ["utterance: endpointing.utterance", "utterance: endpointing.said", "outputs.utterance unknown_port"],
  ["utterance: endpointing.utterance", "utterance: ending.utterance", "outputs.utterance unknown_node"],
  ['{language: "${language}"}', '{language: "${tongue}"}', "nodes[1].provider.settings.language unknown_parameter"],
  [
    "whole: true\n    default: 500",
    "whole: true\n    default: 1.5",
    "parameters.endpoint_silence_ms.default not_allowed",
  ],
  ["default: 500", "default: 50000", "nodes[2].settings.endpoint_silence_ms out_of_range"],
  ["- {id: vad, kind: vad}", "- {id: vad, kind: vat}", "nodes[0].kind unknown_kind"],
])("F-001 F-019 %s as %s is told by the module alone", (from, to, expected) => {
  const read = parseModule(edited(listening, from, to), "m.yaml");
  expect(read.ok ? [] : read.error.map(({ path, code }) => `${path} ${code}`)).toContain(expected);
});

test("F-001 the shipped specs are good: no problem, and no advice that strict lint would fail on", () => {
  for (const file of readdirSync(new URL("../specs/", folder))) {
    const spec = parsed(readSpecFile(file), file);
    expect(adviceOn(spec), file).toEqual([]);
  }
});

test("F-001 strict: advice has a place, a field path and a remedy each", () => {
  const careless = edited(
    edited(small, "- sim/stt", "- sim/stt\n        - local/pocketsphinx"),
    "nodes:",
    "recording: {level: L2}\nvariables:\n  town: {type: string}\nnodes:",
  );
  expect(adviceOn(parsed(careless)).map(({ line, path, remedy }) => `${line} ${path}: ${remedy}`)).toEqual([
    "1 profile: pin it, e.g. `profile: simple/v1`",
    "4 recording.level: use L0 or L1 here and raise single sessions",
    "6 variables.town: write {{town}} where it is to stand, or remove it",
    "14 nodes[2].provider.candidates: move the simulated provider to the end",
  ]);
});
