import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { pipelineJsonSchema } from "./json-schema.ts";

test("F-001 the published JSON Schema is that of the parser", () => {
  // To write it anew: npx --no-install node libs/spec/src/json-schema-write.ts
  const published = readFileSync(new URL("../../../pipelines/pipeline.schema.json", import.meta.url), "utf8");
  expect(JSON.parse(published)).toEqual(pipelineJsonSchema());
});
