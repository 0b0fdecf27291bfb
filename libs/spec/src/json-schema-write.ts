/** Writes `pipelines/*.schema.json`. Run it after a change of a schema, then `npm run format`. */
import { writeFileSync } from "node:fs";
import { jsonSchemas } from "./json-schema.ts";

const folder = new URL("../../../pipelines/", import.meta.url);
for (const [name, schema] of Object.entries(jsonSchemas())) {
  writeFileSync(new URL(name, folder), `${JSON.stringify(schema, null, 2)}\n`);
}
