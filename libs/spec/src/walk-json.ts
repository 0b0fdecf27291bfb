/** Any JSON value of a spec, e.g. a JSON Schema: bounded, without aliases and without what looks like a secret. */
import { isMap, isScalar, isSeq, type Pair } from "yaml";
import type { Position } from "./problem.ts";
import type { JsonSchemaValue } from "./schema.ts";
import { looksSecret, SECRET_REMEDY } from "./secret.ts";

import { describe } from "./walk-scalar.ts";
import type { Walk } from "./walk-state.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const DEPTH_MAX = 10;
const VALUES_MAX = 1_000;

/** Reads the value; undefined, and reported once, where it is none that may stand there. */
export function walkJson(walk: Walk, node: unknown, schema: JsonSchemaValue, path: string, at: Position): unknown {
  const found = { values: 0, problem: "", secret: false };
  const value = read(node, 0, found);
  if (found.problem === "" && JSON.stringify(value ?? null).length > schema.chars)
    found.problem = `${schema.what} is longer than ${schema.chars} characters`;
  if (found.problem === "") return value;
  const remedy = found.secret ? SECRET_REMEDY : `write ${schema.what} of plain values`;
  const code = found.secret ? "secret_literal" : "bad_format";
  walk.problems.add(at, { path, code, message: found.problem, remedy, sensitive: found.secret });
  return undefined;
}

interface Found {
  values: number;
  problem: string;
  secret: boolean;
}

function read(node: unknown, depth: number, found: Found): Json | undefined {
  found.values += 1;
  if (found.problem !== "") return undefined;
  if (depth > DEPTH_MAX) return refuse(found, `nested more than ${DEPTH_MAX} levels deep`);
  if (found.values > VALUES_MAX) return refuse(found, `more than ${VALUES_MAX} values`);
  if (node === null) return null;
  if (isSeq(node)) return node.items.map((item) => read(item, depth + 1, found) ?? null);
  if (isMap(node)) return readMap(node.items as Pair[], depth, found);
  if (!isScalar(node)) return refuse(found, `no plain value: ${describe(node)}`);
  const { value } = node;
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value)) return value;
  if (typeof value !== "string") return refuse(found, `no plain value: ${describe(node)}`);
  return text(value, found);
}

function readMap(pairs: readonly Pair[], depth: number, found: Found): Json | undefined {
  const out: { [key: string]: Json } = {};
  for (const pair of pairs) {
    const key = isScalar(pair.key) ? pair.key.value : undefined;
    if (typeof key !== "string") return refuse(found, "a field name is text");
    if (key === "__proto__" || Object.hasOwn(out, key))
      return refuse(found, `field "${key.slice(0, 64)}" may not stand here`);
    text(key, found);
    out[key] = read(pair.value, depth + 1, found) ?? null;
  }
  return out;
}

function text(value: string, found: Found): string | undefined {
  if (!looksSecret(value)) return value;
  found.secret = true;
  return refuse(found, "this looks like a secret");
}

function refuse(found: Found, problem: string): undefined {
  found.problem = problem;
  return undefined;
}
