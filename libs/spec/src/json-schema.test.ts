import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { jsonSchemas } from "./json-schema.ts";

test.each(Object.entries(jsonSchemas()))("F-001 the published %s is that of the parser", (name, schema) => {
  // To write it anew: npx --no-install node libs/spec/src/json-schema-write.ts
  const published = readFileSync(new URL(`../../../pipelines/${name}`, import.meta.url), "utf8");
  expect(JSON.parse(published)).toEqual(schema);
});
