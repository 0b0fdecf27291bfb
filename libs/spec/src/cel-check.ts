/**
 * What `cel/1` lets a condition be (F-018): the part of CEL that always ends, reads no clock and looks at declared
 * attributes alone. Macros over lists, message types, time and byte literals are left out; `in` and `has` stay.
 */
import type { parse } from "@bufbuild/cel";

type Expr = NonNullable<ReturnType<typeof parse>["expr"]>;
/** `number`: whole or not, as a session variable may be. */
export type ValueType = "text" | "whole" | "fraction" | "number" | "truth" | "list" | "map" | "any";

/** Expressions nest and count at most so much. */
export const CONDITION_NODES_MAX = 128;

/** What a condition may read: the fields of each attribute, `any` for names its author chooses, `text` for one that has none. */
export type Attributes = Readonly<Record<string, Readonly<Record<string, ValueType>> | "any" | "text">>;

const ATTRIBUTES: Attributes = {
  event: {
    type: "text",
    language: "text",
    confidence: "fraction",
    chars: "whole",
    final: "truth",
    segment: "whole",
    speech: "truth",
    probability: "fraction",
    duration_ms: "fraction",
  },
  vars: "any",
  turn: { number: "whole", origin: "text" },
  session: { language: "text" },
  providers: "any",
};

const NUMERIC: readonly string[] = ["_+_", "_-_", "_*_", "_/_", "_%_"];
const ORDERED: readonly string[] = ["_<_", "_<=_", "_>_", "_>=_"];
const METHODS: readonly string[] = ["contains", "startsWith", "endsWith", "matches"];
const NUMBERS: readonly ValueType[] = ["whole", "fraction", "number"];
const CASTS: Readonly<Record<string, ValueType>> = { int: "whole", double: "fraction", string: "text", size: "whole" };

/** Thrown inside the walk only: the first thing wrong ends it. */
class Refusal extends Error {}

/** Null where the expression is a condition; else what is wrong with it. */
export function checkCondition(
  expr: Expr,
  declared?: Readonly<Record<string, ValueType>>,
  attributes: Attributes = ATTRIBUTES,
): string | null {
  const walk: Walk = { left: CONDITION_NODES_MAX, declared, attributes };
  try {
    const type = typeOf(expr, walk);
    return fits(type, "truth") ? null : `it is ${nameOf(type)}, not true or false`;
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

interface Walk {
  left: number;
  declared: Readonly<Record<string, ValueType>> | undefined;
  attributes: Attributes;
}

function typeOf(expr: Expr | undefined, walk: Walk): ValueType {
  walk.left -= 1;
  if (walk.left < 0) throw new Refusal(`it has more than ${CONDITION_NODES_MAX} parts`);
  const kind = expr?.exprKind;
  switch (kind?.case) {
    case "constExpr":
      return constantType(kind.value.constantKind.case);
    case "selectExpr":
      return selectType(kind.value.operand, kind.value.field, kind.value.testOnly, walk);
    case "callExpr":
      return callType(kind.value.target, kind.value.function, kind.value.args, walk);
    case "listExpr":
      for (const item of kind.value.elements) typeOf(item, walk);
      return "list";
    case "identExpr":
      return rootType(kind.value.name, walk);
    default:
      throw new Refusal("macros over lists, and maps or messages made in place, are not part of cel/1");
  }
}

function constantType(kind: string | undefined): ValueType {
  if (kind === "stringValue") return "text";
  if (kind === "boolValue") return "truth";
  if (kind === "int64Value") return "whole";
  if (kind === "doubleValue") return "fraction";
  throw new Refusal("null, bytes and unsigned numbers are not part of cel/1");
}

function rootType(name: string, { attributes }: Walk): ValueType {
  if (Object.hasOwn(attributes, name)) return attributes[name] === "text" ? "text" : "map";
  throw new Refusal(`there is no "${name.slice(0, 64)}"; a condition reads ${Object.keys(attributes).join(", ")}`);
}

function selectType(operand: Expr | undefined, field: string, testOnly: boolean, walk: Walk): ValueType {
  const root = operand?.exprKind.case === "identExpr" ? operand.exprKind.value.name : undefined;
  if (root === undefined) {
    const inner = typeOf(operand, walk);
    if (!fits(inner, "map")) throw new Refusal(`${nameOf(inner)} has no field "${field.slice(0, 64)}"`);
    return testOnly ? "truth" : "any";
  }
  if (rootType(root, walk) === "text") throw new Refusal(`${root} is a text and has no "${field.slice(0, 64)}"`);
  const type = fieldType(root, field, walk);
  return testOnly ? "truth" : type;
}

function fieldType(root: string, field: string, walk: Walk): ValueType {
  const fields = walk.attributes[root];
  if (typeof fields === "object") {
    const type = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (type !== undefined) return type;
    throw new Refusal(`${root} has no "${field.slice(0, 64)}", it has ${Object.keys(fields).join(", ")}`);
  }
  const { declared } = walk;
  if (root !== "vars" || declared === undefined) return "any";
  const type = Object.hasOwn(declared, field) ? declared[field] : undefined;
  if (type === undefined) throw new Refusal(`the pipeline declares no variable "${field.slice(0, 64)}"`);
  return type;
}

function callType(target: Expr | undefined, name: string, args: readonly Expr[], walk: Walk): ValueType {
  const types = [...(target === undefined ? [] : [target]), ...args].map((arg) => typeOf(arg, walk));
  const all = (type: ValueType): void => {
    for (const found of types)
      if (!fits(found, type)) throw new Refusal(`${show(name)} does not take ${nameOf(found)}`);
  };
  if (name === "_&&_" || name === "_||_" || name === "!_") all("truth");
  else if (name === "_==_" || name === "_!=_") alike(types, name);
  else if (ORDERED.includes(name)) {
    alike(types, name);
    if (types.some((type) => type === "list" || type === "map")) all("number");
  } else if (name === "@in") {
    if (!fits(types[1] ?? "any", "list") && types[1] !== "map") all("list");
  } else if (NUMERIC.includes(name) || name === "-_") {
    all("number");
    return arithmetic(types, name);
  } else if (name === "_?_:_") {
    if (!fits(types[0] ?? "any", "truth")) throw new Refusal(`? asks for true or false, found ${nameOf(types[0])}`);
    return types[1] === types[2] ? (types[1] ?? "any") : "any";
  } else if (name === "_[_]") return indexType(target, args, walk);
  else if (METHODS.includes(name)) all("text");
  else if (Object.hasOwn(CASTS, name) && types.length === 1) return CASTS[name] ?? "any";
  else throw new Refusal(`the function "${name.slice(0, 64)}" is not part of cel/1`);
  return "truth";
}

/** CEL does not mix whole numbers and fractions in arithmetic, only in comparisons. */
function arithmetic(types: readonly ValueType[], name: string): ValueType {
  if (types.includes("whole") && types.includes("fraction"))
    throw new Refusal(`${show(name)} mixes a whole number and a fraction: write 2.0 for 2, or double(x)`);
  return types.includes("whole") ? "whole" : types.includes("fraction") ? "fraction" : "number";
}

/** `vars["x"]` is `vars.x`. */
function indexType(target: Expr | undefined, args: readonly Expr[], walk: Walk): ValueType {
  const [map, key] = target === undefined ? args : [target, ...args];
  const root = map?.exprKind.case === "identExpr" ? map.exprKind.value.name : "";
  const constant = key?.exprKind.case === "constExpr" ? key.exprKind.value.constantKind : undefined;
  return constant?.case === "stringValue" && root !== "" ? fieldType(root, constant.value, walk) : "any";
}

function alike(types: readonly ValueType[], name: string): void {
  const [left = "any", right = "any"] = types;
  if (!fits(left, right)) throw new Refusal(`${show(name)} compares ${nameOf(left)} with ${nameOf(right)}`);
}

function fits(found: ValueType, wanted: ValueType): boolean {
  if (NUMBERS.includes(found) && NUMBERS.includes(wanted)) return true;
  return found === wanted || found === "any" || wanted === "any";
}

const show = (name: string): string => name.replaceAll("_", "").replace("@", "");

function nameOf(type: ValueType = "any"): string {
  const names = {
    text: "text",
    whole: "a number",
    fraction: "a number",
    number: "a number",
    truth: "true or false",
    list: "a list",
    map: "an attribute",
    any: "a value",
  };
  return names[type];
}
