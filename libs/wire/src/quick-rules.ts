/**
 * Rules of single values as plain functions, for {@link quickCheck}. Each is true only for what protovalidate accepts too; null
 * where a rule is of a kind that is not known here.
 */
import { type DescEnum, type DescField, isFieldSet, type Message, ScalarType } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import {
  BytesRulesSchema,
  DoubleRulesSchema,
  EnumRulesSchema,
  type FieldRules,
  FloatRulesSchema,
  Int32RulesSchema,
  Int64RulesSchema,
  type Rule,
  StringRulesSchema,
  UInt32RulesSchema,
  UInt64RulesSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";

/** True: the value keeps its rules for certain. */
export type Check = (value: unknown) => boolean;

/** Conditions of the contract that are met often, by their very words; any other goes to protovalidate. */
const expressions: ReadonlyMap<string, Check> = new Map<string, Check>([
  [
    "this.size() == 0 || this.size() == 32",
    (value) => value instanceof Uint8Array && (value.length === 0 || value.length === 32),
  ],
]);

/** Null for one that is not known here. */
export function conditionOf(rules: readonly Rule[], known: ReadonlyMap<string, Check> = expressions): Check[] | null {
  const checks = rules.map(({ expression }) => known.get(expression));
  return checks.every((check) => check !== undefined) ? checks : null;
}

/** True when nothing is set but what is named. */
export function setOnly(schema: GenMessage<Message>, rules: Message, names: readonly string[]): boolean {
  if ((rules.$unknown?.length ?? 0) > 0) return false;
  return schema.fields.every((field) => names.includes(field.localName) || !isFieldSet(rules, field));
}

/** The rules of one scalar, or null. An empty list asks for nothing. */
export function scalarChecks(type: ScalarType, rules: FieldRules | undefined): Check[] | null {
  if (rules === undefined || rules.type.case === undefined) return [];
  const { value } = rules.type;
  switch (rules.type.case) {
    case "string":
      return type === ScalarType.STRING ? stringChecks(value as never) : null;
    case "bytes":
      return type === ScalarType.BYTES ? bytesChecks(value as never) : null;
    case "uint32":
      return type === ScalarType.UINT32 ? wholeChecks(UInt32RulesSchema, value as never, 0, 0xffff_ffff) : null;
    case "int32":
      return type === ScalarType.INT32
        ? wholeChecks(Int32RulesSchema, value as never, -0x8000_0000, 0x7fff_ffff)
        : null;
    case "uint64":
      return type === ScalarType.UINT64 ? bigChecks(UInt64RulesSchema, value as never) : null;
    case "int64":
      return type === ScalarType.INT64 ? bigChecks(Int64RulesSchema, value as never) : null;
    case "float":
      return type === ScalarType.FLOAT ? realChecks(FloatRulesSchema, value as never) : null;
    case "double":
      return type === ScalarType.DOUBLE ? realChecks(DoubleRulesSchema, value as never) : null;
    default:
      return null;
  }
}

export function enumChecks(desc: DescEnum, rules: FieldRules | undefined): Check[] | null {
  if (rules === undefined || rules.type.case === undefined) return [];
  if (rules.type.case !== "enum") return null;
  const { value } = rules.type;
  if (!setOnly(EnumRulesSchema, value, ["definedOnly", "notIn"])) return null;
  const checks: Check[] = [isInt32];
  const not = new Set(value.notIn);
  if (value.definedOnly) checks.push((number) => desc.value[number as number] !== undefined);
  if (not.size > 0) checks.push((number) => !not.has(number as number));
  return checks;
}

/** Presence as protovalidate sees it; `message` is of the field's message. */
export function isPresent(field: DescField, message: Readonly<Record<string, unknown>>): boolean {
  return isFieldSet(message as unknown as Message, field);
}

const isInt32: Check = (value) => typeof value === "number" && (value | 0) === value;

interface StringRules extends Message {
  readonly const: string;
  readonly minLen: bigint;
  readonly maxLen: bigint;
  readonly pattern: string;
}

/** Signs that mean the same to RE2 and to the platform's engine, which is faster by far. */
const plainPattern = /^(?:[^\\(]|\\[-.\\/:_]|\((?!\?)|\(\?:)*$/;

function stringChecks(rules: StringRules): Check[] | null {
  if (!setOnly(StringRulesSchema, rules, ["const", "minLen", "maxLen", "pattern"])) return null;
  const checks: Check[] = [(value) => typeof value === "string"];
  const { field } = StringRulesSchema;
  if (isFieldSet(rules, field.const)) checks.push((value) => value === rules.const);
  if (isFieldSet(rules, field.minLen)) {
    const min = Number(rules.minLen);
    // Code points count, of which there are at least half as many as units.
    checks.push(
      (value) => (value as string).length >= (min > 1 ? min * 2 : min) || [...(value as string)].length >= min,
    );
  }
  if (isFieldSet(rules, field.maxLen)) {
    const max = Number(rules.maxLen);
    checks.push((value) => (value as string).length <= max);
  }
  if (isFieldSet(rules, field.pattern)) {
    if (!plainPattern.test(rules.pattern)) return null;
    const pattern = new RegExp(rules.pattern, "u");
    checks.push((value) => pattern.test(value as string));
  }
  return checks;
}

interface BytesRules extends Message {
  readonly len: bigint;
  readonly minLen: bigint;
  readonly maxLen: bigint;
}

function bytesChecks(rules: BytesRules): Check[] | null {
  if (!setOnly(BytesRulesSchema, rules, ["len", "minLen", "maxLen"])) return null;
  const { field } = BytesRulesSchema;
  const exact = isFieldSet(rules, field.len) ? Number(rules.len) : -1;
  const min = isFieldSet(rules, field.minLen) ? Number(rules.minLen) : 0;
  const max = isFieldSet(rules, field.maxLen) ? Number(rules.maxLen) : Number.POSITIVE_INFINITY;
  return [
    (value) =>
      value instanceof Uint8Array &&
      value.length >= min &&
      value.length <= max &&
      (exact < 0 || value.length === exact),
  ];
}

interface RangeRules<T> extends Message {
  readonly greaterThan: { case: "gt" | "gte"; value: T } | { case: undefined; value?: undefined };
  readonly lessThan: { case: "lt" | "lte"; value: T } | { case: undefined; value?: undefined };
}

const RANGE = ["gt", "gte", "lt", "lte"];

/** Null where the upper bound is below the lower, which asks for what lies outside both. */
function rangeChecks<T extends number | bigint>({ greaterThan, lessThan }: RangeRules<T>): Check[] | null {
  const { value: low } = greaterThan;
  const { value: high } = lessThan;
  if (low !== undefined && high !== undefined && high <= low) return null;
  const checks: Check[] = [];
  if (low !== undefined) {
    checks.push(greaterThan.case === "gte" ? (value) => (value as T) >= low : (value) => (value as T) > low);
  }
  if (high !== undefined) {
    checks.push(lessThan.case === "lte" ? (value) => (value as T) <= high : (value) => (value as T) < high);
  }
  return checks;
}

function wholeChecks(
  schema: GenMessage<Message>,
  rules: RangeRules<number>,
  least: number,
  most: number,
): Check[] | null {
  if (!setOnly(schema, rules, RANGE)) return null;
  const range = rangeChecks(rules);
  const whole: Check = (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
  return range === null ? null : [whole, ...range];
}

function bigChecks(schema: GenMessage<Message>, rules: RangeRules<bigint>): Check[] | null {
  if (!setOnly(schema, rules, RANGE)) return null;
  const range = rangeChecks(rules);
  return range === null ? null : [(value) => typeof value === "bigint", ...range];
}

function realChecks(schema: GenMessage<Message>, rules: RangeRules<number> & { finite: boolean }): Check[] | null {
  if (!setOnly(schema, rules, [...RANGE, "finite"])) return null;
  const range = rangeChecks(rules);
  // What is not finite is seldom meant; protovalidate decides whether it may be.
  return range === null ? null : [(value) => Number.isFinite(value), ...range];
}
