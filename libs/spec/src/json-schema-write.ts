/** Writes `pipelines/pipeline.schema.json`. Run it after a change of `spec-schema.ts`, then `npm run format`. */
import { writeFileSync } from "node:fs";
import { pipelineJsonSchema } from "./json-schema.ts";

const target = new URL("../../../pipelines/pipeline.schema.json", import.meta.url);
writeFileSync(target, `${JSON.stringify(pipelineJsonSchema(), null, 2)}\n`);
