/** Checks a YAML tree against a schema and reads it into plain data. What is wrong is left out of the data and reported. */
import { isAlias, isMap, isScalar, isSeq, type Pair, type YAMLMap, type YAMLSeq } from "yaml";
import { SETTING_CHARS_MAX, SETTING_LIST_MAX } from "./limits.ts";
import { nearest, suggest } from "./nearest.ts";
import { substitute } from "./parameters.ts";
import type { Position, ProblemText } from "./problem.ts";
import type { EitherSchema, ListSchema, MapSchema, OpenMapSchema, Schema, VariantSchema } from "./schema.ts";
import { isSecretReference, looksSecret, namesSecret, SECRET_REMEDY } from "./secret.ts";
import { walkJson } from "./walk-json.ts";
import { describe, walkScalar } from "./walk-scalar.ts";
import { positionOf, type Walk } from "./walk-state.ts";

/** Wrong values are this, so that a list keeps the index of what follows. */
export type Walked = unknown;

export function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

/** Reads `node` as `schema` says; `undefined` where it is wrong. Depth is that of the schema, so it ends. */
export function walkNode(walk: Walk, written: unknown, schema: Schema, path: string, at: Position): Walked {
  const found = walk.parameters === undefined ? null : substitute(walk, written, walk.parameters, path, at);
  if (found === "wrong") return undefined;
  const node = found?.node ?? written;
  const here = found?.place ?? positionOf(walk, written, at);
  if (path !== "") walk.positions.set(path, here);
  if (isAlias(node)) {
    const remedy = "write the value out";
    walk.problems.add(here, { path, code: "alias", message: "aliases are not accepted", remedy });
    return undefined;
  }
  switch (schema.type) {
    case "string":
    case "number":
    case "boolean":
      return walkScalar(walk, node, schema, path, here);
    case "setting":
      return walkSetting(walk, node, path, here);
    case "json":
      return walkJson(walk, node, schema, path, here);
    case "list":
      return walkList(walk, node, schema, path, here);
    case "map":
      return walkMap(walk, node, schema, path, here);
    case "open_map":
      return walkOpenMap(walk, node, schema, path, here);
    case "either":
      return walkEither(walk, node, schema, path, here);
    case "variant":
      return walkVariant(walk, node, schema, path, here);
  }
}

function wrongType(walk: Walk, node: unknown, path: string, at: Position, expected: string, remedy: string): undefined {
  walk.problems.add(at, { path, code: "wrong_type", message: `expected ${expected}, found ${describe(node)}`, remedy });
  return undefined;
}

function walkList(walk: Walk, node: unknown, schema: ListSchema, path: string, at: Position): Walked {
  if (schema.single === true && isScalar(node)) return [walkNode(walk, node, schema.item, path, at)];
  if (!isSeq(node)) {
    return wrongType(walk, node, path, at, `a list of ${schema.items}`, `start each of the ${schema.items} with "- "`);
  }
  const items = (node as YAMLSeq).items;
  if (items.length < schema.min || items.length > schema.max) {
    const message = `${items.length} ${schema.items}, allowed are ${schema.min} to ${schema.max}`;
    const remedy =
      items.length < schema.min ? `add to the ${schema.items}` : `remove or merge some of the ${schema.items}`;
    walk.problems.add(at, { path, code: "too_many", message, remedy });
  }
  return items.slice(0, schema.max).map((item, i) => walkNode(walk, item, schema.item, `${path}[${i}]`, at));
}

interface Entry {
  key: string;
  value: unknown;
  at: Position;
}

/** Keys as text, each once; duplicates and keys that are no text are reported. */
function entriesOf(walk: Walk, node: YAMLMap, path: string, at: Position): Entry[] {
  const seen = new Set<string>();
  const entries: Entry[] = [];
  for (const pair of node.items as Pair[]) {
    const here = positionOf(walk, pair.key, at);
    if (!isScalar(pair.key) || typeof pair.key.value !== "string") {
      const remedy = "write a field name followed by a colon";
      walk.problems.add(here, {
        path,
        code: "wrong_type",
        message: `a field name is text, found ${describe(pair.key)}`,
        remedy,
      });
      continue;
    }
    const key = pair.key.value;
    if (seen.has(key)) {
      const duplicate: ProblemText = {
        path: join(path, key),
        code: "duplicate_field",
        message: `field "${key}" is given twice`,
        remedy: "keep one of them",
      };
      walk.problems.add(here, duplicate);
      continue;
    }
    seen.add(key);
    entries.push({ key, value: pair.value, at: here });
  }
  return entries;
}

function walkMap(walk: Walk, node: unknown, schema: MapSchema, path: string, at: Position): Walked {
  const names = Object.keys(schema.fields);
  if (!isMap(node))
    return wrongType(walk, node, path, at, `the fields of ${schema.what}`, `legal fields: ${names.join(", ")}`);
  const result: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const entry of entriesOf(walk, node, path, at)) {
    const field = Object.hasOwn(schema.fields, entry.key) ? schema.fields[entry.key] : undefined;
    if (field === undefined) {
      unknownField(walk, schema, entry, path);
      // The misspelt field is there; that it is missing as well would be the same news twice.
      given.add(nearest(entry.key, names) ?? "");
      continue;
    }
    given.add(entry.key);
    const value = walkNode(walk, entry.value, field.schema, join(path, entry.key), entry.at);
    if (value !== undefined) result[entry.key] = value;
  }
  for (const name of names) {
    if (schema.fields[name]?.required !== true || given.has(name)) continue;
    const message = `${schema.what} needs "${name}"`;
    walk.problems.add(at, { path: join(path, name), code: "missing_field", message, remedy: `add "${name}:"` });
  }
  return result;
}

function unknownField(walk: Walk, schema: MapSchema, entry: Entry, path: string): void {
  const shown = entry.key.slice(0, 64);
  walk.problems.add(entry.at, {
    path: join(path, shown),
    code: "unknown_field",
    message: `unknown field "${shown}" in ${schema.what}`,
    remedy: suggest(shown, Object.keys(schema.fields), "fields"),
    sensitive: namesSecret(entry.key),
  });
}

const openKeys = {
  pattern: /^[a-z][a-z0-9_-]{0,63}$/,
  form: "lower-case letters, digits, _ and -, starting with a letter",
};

function walkOpenMap(walk: Walk, node: unknown, schema: OpenMapSchema, path: string, at: Position): Walked {
  if (!isMap(node))
    return wrongType(walk, node, path, at, `${schema.what} as "name: value"`, `write the ${schema.what} one per line`);
  const entries = entriesOf(walk, node, path, at);
  if (entries.length > schema.max) {
    const message = `${entries.length} ${schema.what}, allowed are 0 to ${schema.max}`;
    walk.problems.add(at, { path, code: "too_many", message, remedy: `remove some of the ${schema.what}` });
  }
  const result: Record<string, unknown> = {};
  for (const { key, value, at: here } of entries.slice(0, schema.max)) {
    const { pattern, form } = schema.keys ?? openKeys;
    if (!pattern.test(key)) {
      const shown = key.slice(0, 64);
      const message = `"${shown}" is no name for one of the ${schema.what}`;
      const remedy = `use ${form}, 64 at most`;
      walk.problems.add(here, {
        path: join(path, shown),
        code: "bad_format",
        message,
        remedy,
        sensitive: namesSecret(key),
      });
      continue;
    }
    const read = walkOpenValue(walk, value, schema, key, join(path, key), here);
    if (read !== undefined) result[key] = read;
  }
  return result;
}

function walkOpenValue(
  walk: Walk,
  node: unknown,
  schema: OpenMapSchema,
  key: string,
  path: string,
  at: Position,
): Walked {
  const filled = walk.parameters === undefined ? null : substitute(walk, node, walk.parameters, path, at);
  if (filled === "wrong") return undefined;
  const scalar = filled?.node ?? node;
  const plain = isScalar(scalar) && typeof scalar.value === "string" ? scalar.value : undefined;
  if (schema.declares !== true && namesSecret(key) && !(plain !== undefined && isSecretReference(plain))) {
    const here = positionOf(walk, node, at);
    const message = `"${key}" must name a secret, not hold it`;
    walk.problems.add(here, { path, code: "secret_literal", message, remedy: SECRET_REMEDY, sensitive: true });
    return undefined;
  }
  return walkNode(walk, node, schema.value, path, at);
}

function walkSetting(walk: Walk, node: unknown, path: string, at: Position): Walked {
  const expected = "text, a number, true or false, or a list of texts";
  const remedy = "settings are flat; give each value a name of its own";
  if (isSeq(node)) {
    const item: Schema = { type: "string", min: 0, max: SETTING_CHARS_MAX };
    return walkList(walk, node, { type: "list", item, min: 0, max: SETTING_LIST_MAX, items: "texts" }, path, at);
  }
  if (!isScalar(node)) return wrongType(walk, node, path, at, expected, remedy);
  const value = node.value;
  if (typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value !== "string") return wrongType(walk, node, path, at, expected, remedy);
  if (value.startsWith("env:") && !looksSecret(value) && !isSecretReference(value)) {
    const form = "env: is followed by the name of an environment variable";
    walk.problems.add(at, {
      path,
      code: "bad_format",
      message: form,
      remedy: "write e.g. env:OPENAI_API_KEY",
      sensitive: true,
    });
    return undefined;
  }
  return walkScalar(walk, node, { type: "string", min: 0, max: SETTING_CHARS_MAX }, path, at);
}

function walkEither(walk: Walk, node: unknown, schema: EitherSchema, path: string, at: Position): Walked {
  if (isMap(node)) return walkMap(walk, node, schema.map, path, at);
  if (isScalar(node) && typeof node.value === "string") return walkScalar(walk, node, schema.text, path, at);
  return wrongType(walk, node, path, at, schema.what, `write ${schema.what}`);
}

function walkVariant(walk: Walk, node: unknown, schema: VariantSchema, path: string, at: Position): Walked {
  const tag = isMap(node) ? (node as YAMLMap).get(schema.tag) : undefined;
  const known = typeof tag === "string" && Object.hasOwn(schema.variants, tag) ? schema.variants[tag] : undefined;
  return walkMap(walk, node, known ?? schema.fallback, path, at);
}
