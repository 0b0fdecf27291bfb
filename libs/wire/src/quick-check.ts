/**
 * The rules of a contract as plain functions, for what is met all the time: messages that keep them. It never refuses by
 * itself: what it does not accept, or does not know, protovalidate looks at, which costs several times as much and names
 * field and rule. So the two cannot disagree about a message, only about the time it takes.
 */
import { type DescField, type DescMessage, getOption, isFieldSet, type Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import {
  type FieldRules,
  FieldRulesSchema,
  field as fieldOption,
  MapRulesSchema,
  MessageRulesSchema,
  message as messageOption,
  OneofRulesSchema,
  oneof as oneofOption,
  RepeatedRulesSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { type Check, conditionOf, enumChecks, isPresent, scalarChecks, setOnly } from "./quick-rules.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Rules over several fields, by their very words. */
const conditions: ReadonlyMap<string, Check> = new Map<string, Check>([
  [
    "(this.scope == 2) == (this.turn_id != '') && (this.scope == 2) == (this.turn_number > 0)",
    (value) => {
      const { scope, turnId, turnNumber } = value as { scope: number; turnId: string; turnNumber: number };
      return (scope === 2) === (turnId !== "") && (scope === 2) === turnNumber > 0;
    },
  ],
  [
    "(has(this.control) ? this.lane == 1 : true) && (has(this.metrics) || has(this.debug) ? this.lane == 3 : true) && (has(this.audio) || has(this.text) ? this.lane == 2 : true)",
    (value) => {
      const { lane, payload } = value as { lane: number; payload: { case: string | undefined } };
      const lanes: Readonly<Record<string, number>> = { control: 1, metrics: 3, debug: 3, audio: 2, text: 2 };
      const wanted = payload.case === undefined ? undefined : lanes[payload.case];
      return wanted === undefined || wanted === lane;
    },
  ],
  [
    "this.to > this.from && this.end_us >= this.start_us",
    (value) => {
      const { to, from, endUs, startUs } = value as Record<"to" | "from" | "endUs" | "startUs", number>;
      return to > from && endUs >= startUs;
    },
  ],
  [
    "this.last >= this.first",
    (value) => {
      const { last, first } = value as Record<"last" | "first", bigint>;
      return last >= first;
    },
  ],
  [
    "(this.terminal == 2) == has(this.terminal_reason)",
    (value) => {
      const { terminal, terminalReason } = value as { terminal: number; terminalReason?: number };
      return (terminal === 2) === (terminalReason !== undefined);
    },
  ],
  [
    "this.hard_ms == 0u || this.hard_ms >= this.soft_ms",
    (value) => {
      const { hardMs, softMs } = value as Record<"hardMs" | "softMs", number>;
      return hardMs === 0 || hardMs >= softMs;
    },
  ],
]);

interface Plan {
  /** Nothing is asked of the message or of what it holds. */
  empty: boolean;
  readonly checks: Check[];
}

const plans = new WeakMap<DescMessage, Plan>();
const never: Check = () => false;

/** True when `message` keeps every rule of its schema for certain. */
export function quickCheck(schema: DescMessage, message: unknown): boolean {
  return runPlan(planOf(schema), schema, message);
}

/** For tests: whether messages of the schema can be accepted here at all. */
export function isQuick(schema: DescMessage): boolean {
  return !planOf(schema).checks.includes(never);
}

function runPlan(plan: Plan, schema: DescMessage, message: unknown): boolean {
  if (typeof message !== "object" || message === null) return false;
  if ((message as Message).$typeName !== schema.typeName) return false;
  for (const check of plan.checks) if (!check(message)) return false;
  return true;
}

function planOf(schema: DescMessage): Plan {
  const known = plans.get(schema);
  if (known !== undefined) return known;
  const plan: Plan = { empty: false, checks: [] };
  plans.set(schema, plan);
  const checks = messageChecks(schema);
  plan.checks.push(...(checks ?? [never]));
  plan.empty = plan.checks.length === 0;
  return plan;
}

/** Null where a rule is of a kind that is not known here. */
function messageChecks(schema: DescMessage): Check[] | null {
  const rules = getOption(schema, messageOption);
  if (!setOnly(MessageRulesSchema as GenMessage<Message>, rules, ["cel"])) return null;
  const own = conditionOf(rules.cel, conditions);
  if (own === null) return null;
  const checks: Check[] = [];
  for (const oneof of schema.oneofs) {
    const oneofRules = getOption(oneof, oneofOption);
    if (!setOnly(OneofRulesSchema as GenMessage<Message>, oneofRules, ["required"])) return null;
    const { localName } = oneof;
    if (oneofRules.required) checks.push((m) => ((m as Fields)[localName] as { case?: string }).case !== undefined);
  }
  for (const field of schema.fields) {
    const rules = getOption(field, fieldOption);
    const check = fieldCheck(field, rules);
    if (check === null) return null;
    if (check === undefined) continue;
    checks.push(check);
  }
  return [...checks, ...own];
}

/** Undefined where nothing is asked. */
function fieldCheck(field: DescField, rules: FieldRules): Check | null | undefined {
  const { type } = rules;
  const names = ["required", "cel", ...(type.case === undefined ? [] : [type.case])];
  if (!setOnly(FieldRulesSchema as GenMessage<Message>, rules, names)) return null;
  const inner = valueChecks(field, rules);
  const own = conditionOf(rules.cel);
  if (inner === null || own === null) return null;
  const checks = [...inner, ...own];
  if (checks.length === 0 && !rules.required) return undefined;
  const { localName, oneof } = field;
  const read: (m: Fields) => unknown =
    oneof === undefined ? (m) => m[localName] : (m) => (m[oneof.localName] as { value?: unknown } | undefined)?.value;
  const holds = (value: unknown): boolean => checks.every((check) => check(value));
  const { required } = rules;
  // Lists, maps and plain proto3 scalars are always looked at, all else where it is set.
  const always = field.fieldKind === "list" || field.fieldKind === "map" || field.presence === IMPLICIT;
  return (m) => {
    if ((required || !always) && !isPresent(field, m as Fields)) return !required;
    return holds(read(m as Fields));
  };
}

const IMPLICIT = 2;

function valueChecks(field: DescField, rules: FieldRules): Check[] | null {
  switch (field.fieldKind) {
    case "scalar":
      return scalarChecks(field.scalar, rules);
    case "enum":
      return enumChecks(field.enum, rules);
    case "message":
      return rules.type.case === undefined ? nested(field.message) : null;
    case "list":
      return listChecks(field, rules);
    case "map":
      return mapChecks(field, rules);
  }
}

/** Well-known types have no rules of their own, and some are no messages once they are read. */
function nested(schema: DescMessage): Check[] {
  if (schema.typeName.startsWith("google.protobuf.")) return [];
  const plan = planOf(schema);
  return plan.empty ? [] : [(value) => runPlan(plan, schema, value)];
}

function listChecks(field: DescField & { fieldKind: "list" }, { type }: FieldRules): Check[] | null {
  if (type.case !== undefined && type.case !== "repeated") return null;
  const rules = type.value;
  const checks: Check[] = [(value) => Array.isArray(value)];
  if (rules !== undefined) {
    if (!setOnly(RepeatedRulesSchema as GenMessage<Message>, rules, ["minItems", "maxItems", "unique", "items"]))
      return null;
    // Messages are never equal as references; protovalidate refuses the rule for them.
    if (rules.unique && field.listKind === "message") return null;
    const min = Number(rules.minItems);
    const max = isFieldSet(rules, RepeatedRulesSchema.field.maxItems)
      ? Number(rules.maxItems)
      : Number.POSITIVE_INFINITY;
    checks.push((list) => (list as unknown[]).length >= min && (list as unknown[]).length <= max);
    if (rules.unique) checks.push((list) => new Set(list as unknown[]).size === (list as unknown[]).length);
  }
  const items = itemChecks(field, rules?.items);
  if (items === null) return null;
  if (items.length > 0) checks.push((list) => (list as unknown[]).every((item) => items.every((check) => check(item))));
  return checks.length === 1 ? [] : checks;
}

function mapChecks(field: DescField & { fieldKind: "map" }, { type }: FieldRules): Check[] | null {
  if (type.case !== undefined && type.case !== "map") return null;
  const rules = type.value;
  if (
    rules !== undefined &&
    !setOnly(MapRulesSchema as GenMessage<Message>, rules, ["minPairs", "maxPairs", "keys", "values"])
  ) {
    return null;
  }
  const min = Number(rules?.minPairs ?? 0n);
  const bounded = rules !== undefined && isFieldSet(rules, MapRulesSchema.field.maxPairs);
  const max = bounded ? Number(rules.maxPairs) : Number.POSITIVE_INFINITY;
  if (!plainItem(rules?.keys)) return null;
  const keys = scalarChecks(field.mapKey, rules?.keys);
  const values = itemChecks(field, rules?.values);
  // Keys of other kinds are strings here, and must be read first.
  if (keys === null || values === null || (keys.length > 0 && field.mapKey !== STRING)) return null;
  if (keys.length === 0 && values.length === 0 && rules === undefined) return [];
  return [
    (map) => {
      if (typeof map !== "object" || map === null) return false;
      const entries = Object.entries(map);
      if (entries.length < min || entries.length > max) return false;
      return entries.every(
        ([key, value]) => keys.every((check) => check(key)) && values.every((check) => check(value)),
      );
    },
  ];
}

const STRING = 9;

function plainItem(rules: FieldRules | undefined): boolean {
  if (rules === undefined) return true;
  const { type } = rules;
  return setOnly(FieldRulesSchema as GenMessage<Message>, rules, type.case === undefined ? [] : [type.case]);
}

function itemChecks(field: DescField & { fieldKind: "list" | "map" }, rules: FieldRules | undefined): Check[] | null {
  if (!plainItem(rules)) return null;
  const kind = field.fieldKind === "list" ? field.listKind : field.mapKind;
  if (kind === "message")
    return rules?.type.case === undefined && field.message !== undefined ? nested(field.message) : null;
  if (kind === "enum") return field.enum === undefined ? null : enumChecks(field.enum, rules);
  return field.scalar === undefined ? null : scalarChecks(field.scalar, rules);
}
