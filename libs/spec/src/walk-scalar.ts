/** Text, numbers and truth values of a spec, each with its bounds. */
import { isAlias, isMap, isScalar, isSeq, type Scalar } from "yaml";
import { suggest } from "./nearest.ts";
import type { Position, ProblemCode, ProblemText } from "./problem.ts";
import type { BooleanSchema, NumberSchema, StringSchema } from "./schema.ts";
import { looksSecret, SECRET_REMEDY } from "./secret.ts";
import type { Walk } from "./walk-state.ts";

const shownMax = 40;

/** What stands there, in words, short; key-shaped text is hidden by the problem list. */
export function describe(node: unknown): string {
  if (node === null || node === undefined) return "nothing";
  if (isMap(node)) return "fields";
  if (isSeq(node)) return "a list";
  if (isAlias(node)) return "an alias";
  if (!isScalar(node)) return "something else";
  const value: unknown = node.value;
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") {
    if (looksSecret(value)) return "a secret";
    const text = value.length > shownMax ? `${value.slice(0, shownMax)}…` : value;
    return `text ${JSON.stringify(text)}`;
  }
  return `${typeof value === "boolean" ? "" : "the number "}${String(value)}`;
}

export function walkScalar(
  walk: Walk,
  node: unknown,
  schema: StringSchema | NumberSchema | BooleanSchema,
  path: string,
  at: Position,
): string | number | boolean | undefined {
  const value: unknown = isScalar(node) ? written(node, schema) : undefined;
  const problem =
    schema.type === "string"
      ? checkText(node, value, schema)
      : schema.type === "number"
        ? checkNumber(node, value, schema)
        : checkFlag(node, value);
  if (problem !== null) {
    walk.problems.add(at, { path, ...problem });
    return undefined;
  }
  if (schema.type === "string") return String(value);
  return value as number | boolean;
}

/** Of a version, `1.10` is not 1.1: the digits as they stand. */
function written({ value, source }: Scalar, schema: StringSchema | NumberSchema | BooleanSchema): unknown {
  if (schema.type !== "string" || schema.numberAsText !== true || typeof value !== "number") return value;
  if (source !== undefined && /^\d+(\.\d+)?$/.test(source)) return source;
  return Number.isSafeInteger(value) ? String(value) : value;
}

type Finding = Omit<ProblemText, "path"> | null;

function finding(code: ProblemCode, message: string, remedy: string): Finding {
  return { code, message, remedy };
}

function checkText(node: unknown, value: unknown, schema: StringSchema): Finding {
  if (typeof value !== "string") {
    const remedy =
      isScalar(node) && value !== null
        ? "put quotes around it"
        : schema.form === undefined
          ? "write text"
          : `write ${schema.form}`;
    return finding("wrong_type", `expected text, found ${describe(node)}`, remedy);
  }
  const text = value;
  if (looksSecret(text)) {
    return { code: "secret_literal", message: "this looks like a secret", remedy: SECRET_REMEDY, sensitive: true };
  }
  if (text.length < schema.min || text.length > schema.max) {
    const message = `${text.length} characters, allowed are ${schema.min} to ${schema.max}`;
    return finding("out_of_range", message, text.length > schema.max ? "shorten it" : "write something");
  }
  if (schema.oneOf !== undefined && !schema.oneOf.includes(text)) {
    const remedy = suggest(text, schema.oneOf, schema.noun === undefined ? "values" : `${schema.noun}s`);
    return schema.noun === undefined
      ? finding("not_allowed", `${JSON.stringify(text)} is not one of the legal values`, remedy)
      : finding("unknown_kind", `unknown ${schema.noun} ${JSON.stringify(text)}`, remedy);
  }
  if (schema.pattern !== undefined && !schema.pattern.test(text)) {
    const form = schema.form ?? "the expected form";
    if (schema.hidden === true) {
      const message = "this is not repeated: it may be a secret";
      return { code: "secret_literal", message, remedy: `write ${form}`, sensitive: true };
    }
    const shown = text.length > shownMax ? `${text.slice(0, shownMax)}…` : text;
    return finding("bad_format", `${JSON.stringify(shown)} has not the expected form`, `write ${form}`);
  }
  return null;
}

function checkNumber(node: unknown, value: unknown, schema: NumberSchema): Finding {
  const what = schema.integer ? "a whole number" : "a number";
  const range = `${schema.min} to ${schema.max}`;
  if (typeof value !== "number" || !Number.isFinite(value) || (schema.integer && !Number.isSafeInteger(value))) {
    return finding(
      "wrong_type",
      `expected ${what}, found ${describe(node)}`,
      `write ${what} from ${range}, without quotes or unit`,
    );
  }
  if (value >= schema.min && value <= schema.max) return null;
  return finding("out_of_range", `${value} is out of range, allowed are ${range}`, `choose ${what} from ${range}`);
}

function checkFlag(node: unknown, value: unknown): Finding {
  if (typeof value === "boolean") return null;
  return finding(
    "wrong_type",
    `expected true or false, found ${describe(node)}`,
    "write true or false, without quotes",
  );
}
