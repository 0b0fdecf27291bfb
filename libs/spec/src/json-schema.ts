/** The published schema of spec files as JSON Schema (2020-12), for editors. `pipelines/pipeline.schema.json` holds it. */
import type { MapSchema, Schema, StringSchema } from "./schema.ts";
import { specSchema, templateSchema } from "./spec-schema.ts";

export type JsonSchema = { readonly [key: string]: JsonValue };
type JsonValue = string | number | boolean | readonly JsonValue[] | JsonSchema;

/** What is checked besides (graph, profile, rules between values, secrets) is told by `parseSpec` alone. */
export function pipelineJsonSchema(): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "RSPP pipeline spec",
    anyOf: [convertMap(specSchema), convertMap(templateSchema)],
  };
}

function convert(schema: Schema): JsonSchema {
  switch (schema.type) {
    case "string":
      return convertText(schema);
    case "number":
      return { type: schema.integer ? "integer" : "number", minimum: schema.min, maximum: schema.max };
    case "boolean":
      return { type: "boolean" };
    case "list":
      return { type: "array", items: convert(schema.item), minItems: schema.min, maxItems: schema.max };
    case "map":
      return convertMap(schema);
    case "open_map":
      return {
        type: "object",
        propertyNames: { pattern: "^[a-z][a-z0-9_-]{0,63}$" },
        additionalProperties: convert(schema.value),
        maxProperties: schema.max,
      };
    case "setting":
      return {
        anyOf: [{ type: ["string", "number", "boolean"] }, { type: "array", items: { type: "string" } }],
      };
    case "either":
      return { anyOf: [convert(schema.text), convertMap(schema.map)] };
    case "variant":
      return {
        anyOf: Object.entries(schema.variants).map(([tag, variant]) => withTag(convertMap(variant), schema.tag, tag)),
      };
  }
}

function convertText(schema: StringSchema): JsonSchema {
  return {
    type: schema.wholeNumber === true ? ["string", "integer"] : "string",
    ...(schema.oneOf === undefined ? { minLength: schema.min, maxLength: schema.max } : { enum: schema.oneOf }),
    ...(schema.pattern === undefined ? {} : { pattern: schema.pattern.source }),
    ...(schema.form === undefined ? {} : { description: schema.form }),
  };
}

function convertMap(schema: MapSchema): JsonSchema {
  const fields = Object.entries(schema.fields);
  return {
    type: "object",
    title: schema.what,
    properties: Object.fromEntries(fields.map(([name, field]) => [name, convert(field.schema)])),
    required: fields.filter(([, field]) => field.required === true).map(([name]) => name),
    additionalProperties: false,
  };
}

function withTag(map: JsonSchema, tag: string, value: string): JsonSchema {
  return { ...map, properties: { ...(map.properties as JsonSchema), [tag]: { const: value } } };
}
