/** The published schemas of spec, module, policy and override files as JSON Schema (2020-12), for editors; see `pipelines/*.schema.json`. */
import { moduleSchema } from "./module-schema.ts";
import { overridesSchema } from "./overrides-schema.ts";
import { policySchema } from "./policy/policy-schema.ts";
import { nodePackageSchema } from "./published/node-package.ts";
import { providerConfigSchema } from "./published/provider-config.ts";
import { rolloutSchema } from "./rollout/rollout-schema.ts";
import type { ListSchema, MapSchema, Schema, StringSchema } from "./schema.ts";
import { specSchema, templateSchema } from "./spec-schema.ts";
import { tenantSchema } from "./tenant/tenant-schema.ts";
import { testScriptSchema } from "./test-script/script-schema.ts";

export type JsonSchema = { readonly [key: string]: JsonValue };
type JsonValue = string | number | boolean | readonly JsonValue[] | JsonSchema;

const dialect = "https://json-schema.org/draft/2020-12/schema";

/** Files of `pipelines/` by name. */
export function jsonSchemas(): Readonly<Record<string, JsonSchema>> {
  return {
    "pipeline.schema.json": pipelineJsonSchema(),
    "module.schema.json": moduleJsonSchema(),
    "policy.schema.json": documentJsonSchema("policy", policySchema),
    "overrides.schema.json": documentJsonSchema("overrides", overridesSchema),
    "rollout.schema.json": documentJsonSchema("rollout", rolloutSchema),
    "tenant-config.schema.json": documentJsonSchema("configuration of a tenant", tenantSchema),
    "provider-config.schema.json": documentJsonSchema("configuration of providers", providerConfigSchema),
    "test.schema.json": documentJsonSchema("test script", testScriptSchema),
    "node-package.schema.json": documentJsonSchema("package of nodes", nodePackageSchema),
  };
}

function documentJsonSchema(name: string, schema: MapSchema): JsonSchema {
  return { $schema: dialect, title: `RSPP ${name}`, ...convertMap(schema, plain) };
}

/** What is checked besides (graph, profile, rules between values, secrets) is told by `parseSpec` alone. */
export function pipelineJsonSchema(): JsonSchema {
  return {
    $schema: dialect,
    title: "RSPP pipeline spec",
    anyOf: [convertMap(specSchema, plain), convertMap(templateSchema, plain)],
  };
}

/** Where a value is asked for, `${parameter}` may stand in its place. */
export function moduleJsonSchema(): JsonSchema {
  return { $schema: dialect, title: "RSPP module", ...convertMap(moduleSchema, { parameters: true }) };
}

interface Form {
  /** Scalars may be `${name}`. */
  parameters: boolean;
}

const plain: Form = { parameters: false };
const parameter: JsonSchema = { type: "string", pattern: "\\$\\{[a-z][a-z0-9_]*\\}" };

function convert(schema: Schema, form: Form): JsonSchema {
  const scalar = schema.type === "string" || schema.type === "number" || schema.type === "boolean";
  return scalar && form.parameters ? { anyOf: [convertOne(schema, form), parameter] } : convertOne(schema, form);
}

function convertOne(schema: Schema, form: Form): JsonSchema {
  switch (schema.type) {
    case "string":
      return convertText(schema);
    case "number":
      return { type: schema.integer ? "integer" : "number", minimum: schema.min, maximum: schema.max };
    case "boolean":
      return { type: "boolean" };
    case "list":
      return convertList(schema, form);
    case "map":
      return convertMap(schema, form);
    case "open_map":
      return {
        type: "object",
        propertyNames: { pattern: schema.keys?.pattern.source ?? "^[a-z][a-z0-9_-]{0,63}$" },
        additionalProperties: convert(schema.value, form),
        maxProperties: schema.max,
      };
    case "setting":
      return {
        anyOf: [{ type: ["string", "number", "boolean"] }, { type: "array", items: { type: "string" } }],
      };
    case "json":
      return { type: "object", description: schema.what };
    case "either":
      return { anyOf: [convert(schema.text, form), convertMap(schema.map, form)] };
    case "variant":
      return {
        anyOf: Object.entries(schema.variants).map(([tag, variant]) =>
          withTag(convertMap(variant, form), schema.tag, tag),
        ),
      };
  }
}

function convertList({ item, min, max, single }: ListSchema, form: Form): JsonSchema {
  const array = { type: "array", items: convert(item, form), minItems: min, maxItems: max };
  return single === true ? { anyOf: [convert(item, form), array] } : array;
}

function convertText(schema: StringSchema): JsonSchema {
  return {
    type: schema.numberAsText === true ? ["string", "number"] : "string",
    ...(schema.oneOf === undefined ? { minLength: schema.min, maxLength: schema.max } : { enum: schema.oneOf }),
    ...(schema.pattern === undefined ? {} : { pattern: schema.pattern.source }),
    ...(schema.form === undefined ? {} : { description: schema.form }),
  };
}

function convertMap(schema: MapSchema, form: Form): JsonSchema {
  const fields = Object.entries(schema.fields);
  return {
    type: "object",
    title: schema.what,
    properties: Object.fromEntries(fields.map(([name, field]) => [name, convert(field.schema, form)])),
    required: fields.filter(([, field]) => field.required === true).map(([name]) => name),
    additionalProperties: false,
  };
}

function withTag(map: JsonSchema, tag: string, value: string): JsonSchema {
  return { ...map, properties: { ...(map.properties as JsonSchema), [tag]: { const: value } } };
}
