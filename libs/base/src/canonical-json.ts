import { InvariantError, invariant } from "./invariant.ts";

const depthMax = 200;

/**
 * JSON with one form per value: object keys sorted by UTF-16 code unit, no white space, fields that are `undefined` left
 * out, -0 written as 0. Used wherever a hash is taken (plan hash, evidence, digests; kernel.md §3, §11).
 *
 * @throws InvariantError naming the path for whatever JSON would lose or change: NaN, Infinity, functions, bigint,
 * symbols, `undefined` outside an object field, objects that are not plain, cycles, nesting deeper than 200.
 */
export function canonicalJson(value: unknown): string {
  return write(value, "$", []);
}

function write(value: unknown, path: string, parents: object[]): string {
  switch (typeof value) {
    case "string":
    case "boolean":
      return JSON.stringify(value);
    case "number":
      invariant(Number.isFinite(value), `a number in canonical JSON is finite, at ${path}`, value);
      return JSON.stringify(value);
    case "object":
      return value === null ? "null" : writeObject(value, path, parents);
    default:
      throw new InvariantError(`canonical JSON holds no ${typeof value}, at ${path}`);
  }
}

function writeObject(value: object, path: string, parents: object[]): string {
  invariant(!parents.includes(value), `canonical JSON holds no cycle, at ${path}`);
  invariant(parents.length < depthMax, `canonical JSON nests at most ${depthMax} levels, at ${path}`);
  parents.push(value);
  const text = Array.isArray(value) ? writeArray(value, path, parents) : writeRecord(value, path, parents);
  parents.pop();
  return text;
}

function writeArray(items: readonly unknown[], path: string, parents: object[]): string {
  let text = "[";
  for (let i = 0; i < items.length; i++) {
    if (i > 0) text += ",";
    text += write(items[i], `${path}[${i}]`, parents);
  }
  return `${text}]`;
}

function writeRecord(value: object, path: string, parents: object[]): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new InvariantError(
      `canonical JSON holds plain objects only, at ${path}`,
      Object.prototype.toString.call(value),
    );
  }
  const record = value as Readonly<Record<string, unknown>>;
  let text = "{";
  for (const key of Object.keys(record).sort()) {
    const field = record[key];
    if (field === undefined) continue;
    if (text.length > 1) text += ",";
    text += `${JSON.stringify(key)}:${write(field, `${path}.${key}`, parents)}`;
  }
  return `${text}}`;
}
