import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  create,
  type DescField,
  type DescFile,
  type DescMessage,
  getOption,
  isMessage,
  ScalarType,
} from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import {
  type FieldRules,
  field as fieldOption,
  message as messageOption,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { type EvidenceManifest, EvidenceManifestSchema } from "@rspp/gen/rspp/replay/v1/evidence_pb";
import { LinkControlFrameSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { expect, test } from "vitest";
import { isQuick, quickCheck } from "./quick-check.ts";

const root = fileURLToPath(new URL("../../../gen/rspp/", import.meta.url));
const names = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("_pb.js"));

function messagesOf(messages: readonly DescMessage[]): DescMessage[] {
  return messages.filter(({ file }) => file.name !== "").flatMap((one) => [one, ...messagesOf(one.nestedMessages)]);
}

const files = await Promise.all(names.map((name) => import(new URL(name, `file://${root}`).href) as Promise<object>));
const schemas = files
  .flatMap((file) => Object.values(file) as unknown[])
  .filter((value): value is DescFile => (value as DescFile | null)?.kind === "file")
  .flatMap((file) => messagesOf(file.messages));
const validator = createValidator();

type Random = () => number;

function pick<T>(values: readonly T[], random: Random): T {
  return values[Math.floor(random() * values.length)] as T;
}

const words = ["a", "t/x", "acme", "voice-assistant", "ns.name", "sha256", "1", "a_b"];

/** Mostly what its rules ask for, at their bounds above all; now and then what lies just outside. */
function scalarOf(type: ScalarType, rules: FieldRules | undefined, random: Random): unknown {
  const value = (rules?.type.value ?? {}) as Record<string, never>;
  const off = random() < 0.03 ? 1 : 0;
  switch (type) {
    case ScalarType.STRING: {
      const {
        minLen = 0n,
        maxLen = 200n,
        pattern = "",
      } = value as { minLen?: bigint; maxLen?: bigint; pattern?: string };
      if (pattern !== "" && off === 0) return words.find((word) => new RegExp(pattern, "u").test(word)) ?? "a";
      const length = random() < 0.5 ? Number(minLen) - off : Number(maxLen) + off;
      return pick(["x", "x", "x", "é", "😀"], random).repeat(Math.max(0, Math.min(length, 5_000)));
    }
    case ScalarType.BYTES: {
      const { len = 0n, minLen = 0n, maxLen = 64n } = value as { len?: bigint; minLen?: bigint; maxLen?: bigint };
      const length = len > 0n ? Number(len) - off : pick([Number(minLen) - off, Number(maxLen) + off], random);
      return new Uint8Array(Math.max(0, Math.min(length, 5_000)));
    }
    case ScalarType.BOOL:
      return random() < 0.5;
    case ScalarType.UINT64:
    case ScalarType.INT64:
      return boundOf(value, [1n, 2n ** 53n - 1n], BigInt(off), random);
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return off === 1 ? pick([Number.NaN, Number.POSITIVE_INFINITY, -1], random) : boundOf(value, [0, 1], 0, random);
    default:
      return boundOf(value, [0, 0x7fff_ffff], off, random);
  }
}

function boundOf<T extends number | bigint>(rules: object, [low, high]: [T, T], off: T, random: Random): T {
  const { greaterThan, lessThan } = rules as Partial<Record<"greaterThan" | "lessThan", { value?: T }>>;
  const [least, most] = [greaterThan?.value ?? low, lessThan?.value ?? high];
  const value = random() < 0.6 ? (least as bigint) - (off as bigint) : (most as bigint) + (off as bigint);
  return (value < 0n ? least : value) as T;
}

function anyValue(field: DescField, random: Random, depth: number): unknown {
  const rules = getOption(field, fieldOption);
  const one = (kind: string, of: FieldRules | undefined): unknown => {
    if (kind === "message" && field.message !== undefined) return messageOf(field.message, random, depth + 1);
    if (kind !== "enum") return scalarOf(field.scalar ?? ScalarType.INT32, of, random);
    const numbers = (field.enum?.values ?? []).map(({ number }) => number);
    return random() < 0.03 ? pick([0, 9_999], random) : pick(numbers.slice(numbers.length > 1 ? 1 : 0), random);
  };
  if (field.fieldKind !== "list" && field.fieldKind !== "map") return one(field.fieldKind, rules);
  const least = rules.type.case === "repeated" ? Number(rules.type.value.minItems) : 0;
  const count = random() < 0.02 ? 0 : least + Math.floor(random() * random() * (depth > 2 ? 2 : 4));
  if (field.fieldKind === "list") {
    const items = rules.type.case === "repeated" ? rules.type.value.items : undefined;
    return Array.from({ length: count }, () => one(field.listKind, items));
  }
  const values = rules.type.case === "map" ? rules.type.value.values : undefined;
  return Object.fromEntries(
    Array.from({ length: count }, (_, n) => [random() < 0.03 ? "" : `k${n}`, one(field.mapKind, values)]),
  );
}

function messageOf(schema: DescMessage, random: Random, depth = 0): unknown {
  if (schema.typeName === "google.protobuf.Struct") return {};
  const init: Record<string, unknown> = {};
  for (const field of schema.fields) {
    if (random() < (getOption(field, fieldOption).required ? 0.02 : depth > 2 ? 0.6 : 0.15)) continue;
    const value = anyValue(field, random, depth);
    if (field.oneof === undefined) init[field.localName] = value;
    else init[field.oneof.localName] = { case: field.localName, value };
  }
  return create(schema, init as never);
}

/** A message with every field, in bounds; then each field in turn otherwise. What is right but for one thing tells rules apart. */
function* nearlyRight(schema: DescMessage, random: Random): Generator<unknown> {
  const whole = (): Record<string, unknown> => messageOf(schema, () => 0.5) as Record<string, unknown>;
  yield whole();
  const edgy = (): number => random() * random() * random();
  for (const field of schema.fields) {
    for (let n = 0; n < 2; n++) {
      const message = whole();
      const value = anyValue(field, n === 0 ? random : edgy, 0);
      const unset = n === 1 && random() < 0.5;
      if (field.oneof !== undefined) {
        message[field.oneof.localName] = unset ? { case: undefined } : { case: field.localName, value };
      } else if (!unset) message[field.localName] = value;
      else if (field.presence === 1) delete message[field.localName];
      yield message;
    }
    if (field.fieldKind !== "enum" || field.oneof !== undefined) continue;
    for (const { number } of field.enum.values.slice(0, 4)) yield Object.assign(whole(), { [field.localName]: number });
  }
}

test("NF-013 what the quick rules accept, protovalidate accepts: every message of the contracts", {
  timeout: 60_000,
}, () => {
  let accepted = 0;
  let valid = 0;
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const compare = (schema: DescMessage, message: unknown): void => {
    const verdict = validator.validate(schema, message as never).kind === "valid";
    const quick = quickCheck(schema, message);
    if (verdict && isQuick(schema)) valid++;
    if (quick) accepted++;
    if (quick && !verdict) expect.fail(`${schema.typeName}: accepted against its rules`);
  };
  for (const schema of schemas) {
    for (let n = 0; n < 3; n++) compare(schema, messageOf(schema, random));
    for (const message of nearlyRight(schema, random)) compare(schema, message);
  }
  // Were it always to ask protovalidate, nothing would be gained.
  expect(accepted).toBeGreaterThan(0.9 * valid);
  expect(valid).toBeGreaterThan(1_000);
});

test("rules over several fields: the quick ones and protovalidate say the same", () => {
  const base = messageOf(EnvelopeSchema, () => 0.5) as Envelope;
  const payloads = [
    ...EnvelopeSchema.fields.flatMap((field) => {
      if (field.oneof?.localName !== "payload" || field.message === undefined) return [];
      return [{ case: field.localName, value: messageOf(field.message, () => 0.5) }];
    }),
  ];
  expect(payloads.length).toBeGreaterThan(4);
  let accepted = 0;
  for (const payload of payloads) {
    for (const lane of [1, 2, 3]) {
      for (const [scope, turnNumber, turnId] of [
        [1, 0, ""],
        [2, 1, "t"],
        [1, 1, "t"],
        [2, 0, ""],
        [2, 1, ""],
      ] as const) {
        const message = create(EnvelopeSchema, {
          ...base,
          payload,
          lane,
          scope,
          turnNumber,
          turnId,
          extensions: {},
        } as never);
        const quick = quickCheck(EnvelopeSchema, message);
        expect(quick).toBe(validator.validate(EnvelopeSchema, message).kind === "valid");
        if (quick) accepted++;
      }
    }
  }
  expect(accepted).toBeGreaterThan(5);
  for (const terminal of [1, 2]) {
    for (const terminalReason of [undefined, 1]) {
      const manifest = messageOf(EvidenceManifestSchema, () => 0.5) as EvidenceManifest;
      Object.assign(manifest, { schema: "or02/v1", terminal, terminalReason });
      const quick = quickCheck(EvidenceManifestSchema, manifest);
      expect(quick).toBe(validator.validate(EvidenceManifestSchema, manifest).kind === "valid");
      expect(quick).toBe((terminal === 2) === (terminalReason !== undefined));
    }
  }
});

test("most contracts are known to the quick rules, those of every event among them", () => {
  const unknown = schemas.filter((schema) => !isQuick(schema)).map(({ typeName }) => typeName);
  expect(unknown.length).toBeLessThan(schemas.length / 10);
  expect(isQuick(EnvelopeSchema) && isQuick(LinkControlFrameSchema)).toBe(true);
});

test("what is no message of the schema is not accepted", () => {
  const envelope = create(EnvelopeSchema);
  expect(isMessage(envelope)).toBe(true);
  for (const other of [null, undefined, 1, "x", {}, envelope])
    expect(quickCheck(LinkControlFrameSchema, other)).toBe(false);
});
