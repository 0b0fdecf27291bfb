/** Messages made of their contracts: one that holds, and for each rule of each field one that breaks just that rule. */
import {
  clone,
  create,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  type Message,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import {
  type EnumRules,
  type FieldRules,
  field as fieldRules,
  oneof as oneofRules,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { SessionKeySchema } from "@rspp/gen/rspp/common/v1/reference_pb";
import { Sensitivity } from "@rspp/gen/rspp/common/v1/sensitivity_pb";
import { EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { EvidenceManifestSchema } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import { sensitivityOf } from "@rspp/rpc/log";
import { validate } from "@rspp/wire/validate";
import { envelopes, evidence } from "../contract/samples.ts";

/** Part of every text that breaks a rule, by who may see the field; never to be found in a log, nor in an answer. */
export const planted = { [Sensitivity.PERSONAL]: "PLANTEDPERSONAL5E1F", [Sensitivity.SECRET]: "PLANTEDSECRET9A7C" };

export interface Breach {
  /** As a refusal names it, e.g. `put[0].key`. */
  readonly path: string;
  readonly what: string;
  readonly message: Message;
}

type Step = { readonly field: DescField; readonly in: "field" | "list" };

const rulesOf = (field: DescField): FieldRules | undefined =>
  hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;

const bounded = (value: bigint | number | undefined): number => Number(value ?? 0);

/** The least text that the rules take. */
function leastText(field: DescField, rules: FieldRules | undefined): string {
  if (rules?.type.case !== "string") return "";
  const { minLen, len, pattern, in: among, const: only } = rules.type.value;
  if (only !== "") return only;
  if (among.length > 0) return among[0] ?? "";
  for (const text of ["a", "s1", "or02/v1", "rspp/pipeline/v1", "simple/v1", "a.b"]) {
    if (pattern !== "" && new RegExp(pattern).test(text)) return text;
  }
  const length = Math.max(bounded(minLen), bounded(len), field.name.endsWith("_id") ? 1 : 0);
  return "s".repeat(length);
}

function leastNumber(rules: FieldRules | undefined): number {
  const value = rules?.type.value;
  if (typeof value !== "object" || value === null || !("greaterThan" in value)) return 0;
  const { greaterThan } = value as { greaterThan: { case?: string; value?: bigint | number } };
  if (greaterThan.case === undefined) return 0;
  return bounded(greaterThan.value) + (greaterThan.case === "gt" ? 1 : 0);
}

function leastEnum(field: DescField & { enum: NonNullable<DescField["enum"]> }, rules: EnumRules | undefined): number {
  const bad = new Set(rules?.notIn ?? []);
  const allowed = (number: number): boolean => !bad.has(number) && (!rules?.in.length || rules.in.includes(number));
  return field.enum.values.map(({ number }) => number).find(allowed) ?? 0;
}

const known = new Map<string, Message>([
  // Rules over several of its fields: no search finds their way through.
  [EvidenceManifestSchema.typeName, create(EvidenceManifestSchema, evidence as never)],
  ...envelopes.slice(0, 1).map(([, one]) => [EnvelopeSchema.typeName, one] as const),
]);

/** A message that sets what its contract wants, and nothing else. */
export function least(schema: DescMessage, depth = 0): ReflectMessage {
  const found = known.get(schema.typeName) ?? made(schema, depth).message;
  known.set(schema.typeName, found);
  return reflect(schema, clone(schema, found));
}

function made(schema: DescMessage, depth: number): ReflectMessage {
  const made = reflect(schema, create(schema));
  for (const field of schema.fields) {
    const rules = rulesOf(field);
    if (field.oneof === undefined && wanted(field, rules)) setLeast(made, field, depth);
  }
  for (const oneof of schema.oneofs) {
    const [first] = oneof.fields;
    if (hasOption(oneof, oneofRules) && getOption(oneof, oneofRules).required && first) setLeast(made, first, depth);
  }
  return depth > 8 ? made : mended(made, depth);
}

/** A rule over several fields may want one that no rule of its own does: the first that helps is set. */
function mended(made: ReflectMessage, depth: number): ReflectMessage {
  if (validate(made.desc, made.message).ok) return made;
  for (const field of made.desc.fields) {
    if (made.isSet(field) || field.oneof !== undefined) continue;
    setLeast(made, field, depth, true);
    if (validate(made.desc, made.message).ok) return made;
    made.clear(field);
  }
  return made;
}

function wanted(field: DescField, rules: FieldRules | undefined): boolean {
  if (rules === undefined) return false;
  const { type } = rules;
  if (rules.required) return true;
  if (field.fieldKind === "list") return type.case === "repeated" && bounded(type.value.minItems) > 0;
  return field.fieldKind === "scalar" || field.fieldKind === "enum";
}

function setLeast(made: ReflectMessage, field: DescField, depth: number, filled = false): void {
  const rules = rulesOf(field);
  if (field.fieldKind === "message") made.set(field, least(field.message, depth + 1));
  else if (field.fieldKind === "enum") {
    made.set(field, leastEnum(field, rules?.type.case === "enum" ? rules.type.value : undefined));
  } else if (field.fieldKind === "scalar") setScalar(made, field, rules, filled);
  else if (field.fieldKind === "list") addItem(made, field, depth);
}

function setScalar(
  made: ReflectMessage,
  field: DescField & { fieldKind: "scalar" },
  rules: FieldRules | undefined,
  filled: boolean,
): void {
  const now = made.get(field);
  if (typeof now === "string") made.set(field, leastText(field, rules) || (filled ? "s" : ""));
  else if (typeof now === "boolean") made.set(field, filled);
  else if (now instanceof Uint8Array) {
    const length = rules?.type.case === "bytes" ? bounded(rules.type.value.len || rules.type.value.minLen) : 0;
    made.set(field, new Uint8Array(length || (filled ? 32 : 0)));
  } else {
    const number = leastNumber(rules) || (filled ? 1 : 0);
    made.set(field, typeof now === "bigint" ? BigInt(number) : number);
  }
}

function addItem(made: ReflectMessage, field: DescField & { fieldKind: "list" }, depth: number): void {
  const list = made.get(field);
  const rules = rulesOf(field);
  const items = rules?.type.case === "repeated" ? rules.type.value.items : undefined;
  if (field.listKind === "message") list.add(least(field.message, depth + 1));
  else if (field.listKind === "enum") {
    list.add(leastEnum(field, items?.type.case === "enum" ? items.type.value : undefined));
  } else if (typeof made.desc === "object") {
    const text = leastText(field, items);
    if (field.scalar === 9) list.add(text || "s");
    else if (field.scalar === 12) list.add(new Uint8Array(32));
    else list.add([3, 4, 6, 16, 18].includes(field.scalar) ? 1n : 1);
  }
}

type Change = { readonly what: string; readonly path: string; readonly apply: (made: ReflectMessage) => void };

const farNumber = 99_999;

/** Each way in which this field alone may break its own rules. */
function changesOf(field: DescField): Change[] {
  const rules = rulesOf(field);
  if (rules === undefined) return [];
  const { name } = field;
  const out: Change[] = [];
  const add = (what: string, apply: Change["apply"], path = name): void => void out.push({ what, path, apply });
  if (rules.required && (field.fieldKind === "message" || field.fieldKind === "scalar")) {
    add("not set", (made) => made.clear(field));
  }
  if (field.fieldKind === "list" && rules.type.case === "repeated") listChanges(field, rules, add);
  if (field.fieldKind === "map" && rules.type.case === "map") {
    const max = bounded(rules.type.value.maxPairs);
    if (max > 0 && field.mapKind === "scalar") {
      add("too many entries", (made) => {
        const map = made.get(field);
        for (let n = 0; n <= max; n++) map.set(`k${n}`, mapItem(field.scalar));
      });
    }
  }
  if (field.fieldKind === "enum" && rules.type.case === "enum") {
    for (const number of badNumbers(rules.type.value)) add(`enum ${number}`, (made) => made.set(field, number));
  }
  if (field.fieldKind === "scalar") {
    for (const value of badScalars(field, rules)) add(`value ${describe(value)}`, (made) => made.set(field, value));
  }
  return out;
}

function mapItem(scalar: number): string | number | bigint | boolean | Uint8Array {
  if (scalar === 9) return "v";
  if (scalar === 12) return new Uint8Array(1);
  if (scalar === 8) return true;
  return [3, 4, 6, 16, 18].includes(scalar) ? 1n : 1;
}

function listChanges(
  field: DescField & { fieldKind: "list" },
  rules: FieldRules,
  add: (what: string, apply: Change["apply"], path?: string) => void,
): void {
  if (rules.type.case !== "repeated") return;
  const { minItems, maxItems, items } = rules.type.value;
  if (bounded(minItems) > 0) add("empty", (made) => made.clear(field));
  const max = bounded(maxItems);
  if (max > 0) {
    add("too many", (made) => {
      const list = made.get(field);
      while (list.size <= max) addItem(made, field, 4);
    });
  }
  const each = (what: string, value: string | number | bigint | Uint8Array | boolean): void =>
    add(`item ${what}`, (made) => only(made, field, value), `${field.name}[0]`);
  if (field.listKind === "enum" && items?.type.case === "enum") {
    for (const number of badNumbers(items.type.value)) each(String(number), number);
  }
  if (field.listKind === "scalar" && items !== undefined) {
    for (const value of badScalars(field, items)) each(describe(value), value);
  }
}

function only(made: ReflectMessage, field: DescField & { fieldKind: "list" }, value: unknown): void {
  made.clear(field);
  made.get(field).add(value);
}

function badNumbers(rules: EnumRules): number[] {
  return [...(rules.definedOnly || rules.in.length > 0 ? [farNumber] : []), ...rules.notIn];
}

function describe(value: string | number | bigint | boolean | Uint8Array): string {
  if (typeof value === "string") return `of ${value.length} characters`;
  return value instanceof Uint8Array ? `of ${value.length} bytes` : String(value);
}

function badScalars(field: DescField, rules: FieldRules): (string | number | bigint | Uint8Array)[] {
  const { type } = rules;
  if (type.case === "string") {
    const { minLen, maxLen, len, pattern } = type.value;
    const long = bounded(maxLen || len);
    const mark = sensitivityOf(field) in planted ? planted[sensitivityOf(field) as Sensitivity.SECRET] : "";
    const out: string[] = [];
    if (long > 0) out.push(mark + "x".repeat(Math.max(1, long + 1 - mark.length)));
    if (bounded(minLen) > 0 || bounded(len) > 0) out.push("");
    if (pattern !== "") out.push("\u0001 \u0001");
    return out.filter((text) => !(text === "\u0001 \u0001" && new RegExp(pattern).test(text)));
  }
  if (type.case === "bytes") {
    const { minLen, maxLen, len } = type.value;
    const out: Uint8Array[] = [];
    if (bounded(maxLen || len) > 0) out.push(new Uint8Array(bounded(maxLen || len) + 1));
    if (bounded(minLen) > 0 || bounded(len) > 0) out.push(new Uint8Array(0));
    if (rules.cel.some(({ id }) => id === "digest.length")) out.push(new Uint8Array(31));
    return out;
  }
  return badCounts(type);
}

function badCounts(type: FieldRules["type"]): (number | bigint)[] {
  const { value } = type;
  if (typeof value !== "object" || value === null || !("lessThan" in value)) return [];
  const { lessThan, greaterThan } = value as {
    lessThan: { case?: string; value?: bigint | number };
    greaterThan: { case?: string; value?: bigint | number };
  };
  const like = (bound: bigint | number, step: number): bigint | number =>
    typeof bound === "bigint" ? bound + BigInt(step) : bound + step;
  const out: (number | bigint)[] = [];
  if (lessThan.value !== undefined) out.push(like(lessThan.value, lessThan.case === "lt" ? 0 : 1));
  if (greaterThan.value !== undefined && Number(greaterThan.value) > 0) {
    out.push(like(greaterThan.value, greaterThan.case === "gt" ? 0 : -1));
  }
  return out;
}

/** What could not be reached: a message around it that no least form of makes legal. */
export interface Breaches {
  readonly found: readonly Breach[];
  readonly unreached: readonly string[];
}

/** Every breach of a contract, nested messages included, each type at the place where it is met first. */
export function breachesOf(schema: DescMessage): Breaches {
  const found: Breach[] = [];
  const unreached: string[] = [];
  const seen = new Set<string>();
  const queue: { desc: DescMessage; steps: readonly Step[] }[] = [{ desc: schema, steps: [] }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { desc, steps } = next;
    if (seen.has(desc.typeName) || desc.typeName.startsWith("google.protobuf.")) continue;
    seen.add(desc.typeName);
    const at = pathOf(steps);
    for (const oneof of desc.oneofs) {
      if (!hasOption(oneof, oneofRules) || !getOption(oneof, oneofRules).required) continue;
      const clear = (made: ReflectMessage): void => {
        for (const field of oneof.fields) made.clear(field);
      };
      collect(schema, steps, { what: "none of it set", path: oneof.name, apply: clear }, { found, unreached });
    }
    for (const field of desc.fields) {
      for (const change of changesOf(field)) collect(schema, [...steps], change, { found, unreached }, field);
      if (field.fieldKind === "message") queue.push({ desc: field.message, steps: [...steps, { field, in: "field" }] });
      if (field.fieldKind === "list" && field.listKind === "message") {
        queue.push({ desc: field.message, steps: [...steps, { field, in: "list" }] });
      }
    }
    if (at.split(".").length > 12) break;
  }
  return { found, unreached };
}

function collect(
  schema: DescMessage,
  steps: readonly Step[],
  change: Change,
  into: { found: Breach[]; unreached: string[] },
  field?: DescField,
): void {
  const root = least(schema);
  const holder = reach(root, steps);
  // A field of a oneof is chosen first, so that only the rule is broken, not the choice.
  if (field?.oneof !== undefined && !holder.isSet(field)) setLeast(holder, field, 0);
  const path = [pathOf(steps), change.path].filter((part) => part !== "").join(".");
  if (!validate(schema, root.message).ok) return void into.unreached.push(path);
  change.apply(holder);
  if (validate(schema, root.message).ok) throw new Error(`${path} (${change.what}) breaks nothing`);
  into.found.push({ path, what: change.what, message: root.message });
}

function reach(root: ReflectMessage, steps: readonly Step[]): ReflectMessage {
  let at = root;
  for (const { field, in: kind } of steps) {
    if (kind === "field" && field.fieldKind === "message") {
      // The lane and more of an envelope go with its payload.
      const whole = at.desc === EnvelopeSchema ? envelopes.find(([kind]) => kind === field.localName) : undefined;
      if (whole !== undefined) Object.assign(at.message, clone(EnvelopeSchema, whole[1]));
      if (!at.isSet(field)) at.set(field, least(field.message, 1));
      at = at.get(field);
    } else if (field.fieldKind === "list") {
      if (at.get(field).size === 0) addItem(at, field, 1);
      at = at.get(field).get(0) as ReflectMessage;
    }
  }
  return at;
}

function pathOf(steps: readonly Step[]): string {
  return steps.map(({ field, in: kind }) => (kind === "list" ? `${field.name}[0]` : field.name)).join(".");
}

/** The least message with `session` wherever it is met first; null for a contract that names none. */
export function ofSession(schema: DescMessage, session: { tenantId: string; sessionId: string }): Message | null {
  const queue: { desc: DescMessage; steps: readonly Step[] }[] = [{ desc: schema, steps: [] }];
  const seen = new Set<string>();
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { desc, steps } = next;
    if (desc.typeName === SessionKeySchema.typeName) {
      const root = least(schema);
      Object.assign(reach(root, steps).message, session);
      return root.message;
    }
    if (seen.has(desc.typeName)) continue;
    seen.add(desc.typeName);
    for (const field of desc.fields) {
      if (field.fieldKind === "message") queue.push({ desc: field.message, steps: [...steps, { field, in: "field" }] });
      if (field.fieldKind === "list" && field.listKind === "message") {
        queue.push({ desc: field.message, steps: [...steps, { field, in: "list" }] });
      }
    }
  }
  return null;
}

/** The least message of a stream's contract by each member of its choice, by name; the first that opens it leads. */
export function choicesOf(schema: DescMessage): { readonly name: string; readonly message: Message }[] {
  const [oneof] = schema.oneofs;
  if (oneof === undefined) return [];
  return oneof.fields.map((field) => {
    const root = least(schema);
    for (const other of oneof.fields) root.clear(other);
    setLeast(root, field, 0);
    return { name: field.name, message: root.message };
  });
}
