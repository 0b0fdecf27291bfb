import { type DescField, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { SourceCodeInfo_LocationSchema } from "@bufbuild/protobuf/wkt";
import type { FieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { field as fieldRules } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { expect, test } from "vitest";
import { contracts, ownEnums, ownFiles, ownMessages, ownServices } from "./contracts.ts";

const registry = contracts();
const areas = ["common", "event", "lease", "pipeline", "plan", "provider", "registry", "replay", "runtime", "state"];

/** What is wrong with the bounds of a value, by kind; empty when bounded. */
function scalarFault(type: ScalarType, rules: FieldRules | undefined): string[] {
  const rule = rules?.type;
  if (type === ScalarType.STRING) {
    const bounded =
      rule?.case === "string" && (has(rule.value.maxLen) || rule.value.const !== "" || has(rule.value.len));
    return bounded ? [] : ["string without max_len"];
  }
  if (type === ScalarType.BYTES) {
    const bounded = rule?.case === "bytes" && (has(rule.value.maxLen) || has(rule.value.len));
    return bounded ? [] : ["bytes without max_len"];
  }
  return [];
}

function has(bound: bigint): boolean {
  return bound > 0n;
}

function faults(field: DescField): string[] {
  const rules = hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
  const rule = rules?.type;
  if (field.fieldKind === "list") {
    const found = rule?.case === "repeated" && has(rule.value.maxItems) ? [] : ["repeated without max_items"];
    const items = rule?.case === "repeated" ? rule.value.items : undefined;
    if (field.listKind === "scalar") found.push(...scalarFault(field.scalar, items));
    if (field.listKind === "enum") found.push(...enumFault(items));
    return found;
  }
  if (field.fieldKind === "map") {
    const found = rule?.case === "map" && has(rule.value.maxPairs) ? [] : ["map without max_pairs"];
    found.push(...scalarFault(field.mapKey, rule?.case === "map" ? rule.value.keys : undefined));
    if (field.mapKind === "scalar")
      found.push(...scalarFault(field.scalar, rule?.case === "map" ? rule.value.values : undefined));
    return found;
  }
  if (field.fieldKind === "scalar") return scalarFault(field.scalar, rules);
  if (field.fieldKind === "enum") return enumFault(rules);
  return [];
}

function enumFault(rules: FieldRules | undefined): string[] {
  return rules?.type.case === "enum" && rules.type.value.definedOnly ? [] : ["enum without defined_only"];
}

test("every area of this release is there", () => {
  const found = new Set(ownFiles(registry).map((file) => file.proto.package));
  for (const area of areas) expect(found).toContain(`rspp.${area}.v1`);
});

test("every string, bytes, repeated, map and enum field carries its limit", () => {
  const found: string[] = [];
  let fields = 0;
  for (const message of ownMessages(registry)) {
    for (const field of message.fields) {
      fields += 1;
      for (const fault of faults(field)) found.push(`${message.typeName}.${field.name}: ${fault}`);
    }
  }
  expect(found).toEqual([]);
  expect(fields).toBeGreaterThan(500);
});

test("the walk would see an unbounded field", () => {
  const unbounded = registry.getMessage("google.protobuf.FileDescriptorProto")!;
  const named = new Map(unbounded.fields.map((field) => [field.name, faults(field)]));
  expect(named.get("name")).toEqual(["string without max_len"]);
  expect(named.get("dependency")).toEqual(["repeated without max_items", "string without max_len"]);
});

test("every enum starts with an _UNSPECIFIED zero", () => {
  for (const type of ownEnums(registry)) {
    const zero = type.values.find((value) => value.number === 0);
    expect(zero?.name, type.typeName).toMatch(/_UNSPECIFIED$/);
  }
});

test("every service, RPC, message and field is documented", () => {
  const bare: string[] = [];
  for (const file of ownFiles(registry)) {
    const comments = new Map<string, string>();
    for (const location of file.proto.sourceCodeInfo?.location ?? []) {
      expect(location.$typeName).toBe(SourceCodeInfo_LocationSchema.typeName);
      comments.set(location.path.join("."), location.leadingComments.trim());
    }
    const need = (path: number[], name: string): void => {
      if ((comments.get(path.join(".")) ?? "") === "") bare.push(name);
    };
    file.services.forEach((service, s) => {
      need([6, s], service.typeName);
      service.methods.forEach((method, m) => {
        need([6, s, 2, m], `${service.typeName}.${method.name}`);
      });
    });
    file.messages.forEach((message, m) => {
      need([4, m], message.typeName);
      message.proto.field.forEach((field, f) => {
        need([4, m, 2, f], `${message.typeName}.${field.name}`);
      });
    });
  }
  expect(bare).toEqual([]);
  expect(ownServices(registry).flatMap((service) => service.methods).length).toBeGreaterThan(30);
});

test("services and nouns live in files of their own", () => {
  for (const file of ownFiles(registry)) {
    const services = file.name.endsWith("_service");
    expect(file.services.length > 0, file.name).toBe(services);
  }
});

test("fields that hold tokens or speech are marked", async () => {
  const { sensitivity, Sensitivity } = await import("@rspp/gen/rspp/common/v1/sensitivity_pb");
  const { AudioSchema } = await import("@rspp/gen/rspp/event/v1/audio_pb");
  const { TextSchema } = await import("@rspp/gen/rspp/event/v1/text_pb");
  const { SessionRouteSchema } = await import("@rspp/gen/rspp/registry/v1/registry_pb");
  const { OpenSessionSchema } = await import("@rspp/gen/rspp/runtime/v1/link_pb");
  expect(getOption(AudioSchema.field.data, sensitivity)).toBe(Sensitivity.PERSONAL);
  expect(getOption(TextSchema.field.text, sensitivity)).toBe(Sensitivity.PERSONAL);
  expect(getOption(SessionRouteSchema.field.token, sensitivity)).toBe(Sensitivity.SECRET);
  expect(getOption(OpenSessionSchema.field.token, sensitivity)).toBe(Sensitivity.SECRET);
});

test("F-131 every error of the catalogue says what to do", async () => {
  const { ErrorReasonSchema, error_rule, DefaultAction } = await import("@rspp/gen/rspp/common/v1/error_pb");
  const codes = new Set(
    "INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE UNAUTHENTICATED PERMISSION_DENIED NOT_FOUND ABORTED ALREADY_EXISTS RESOURCE_EXHAUSTED DATA_LOSS INTERNAL UNAVAILABLE DEADLINE_EXCEEDED UNIMPLEMENTED".split(
      " ",
    ),
  );
  for (const value of ErrorReasonSchema.values) {
    if (value.number === 0) continue;
    const rule = getOption(value, error_rule);
    expect(rule.remedy.length, value.name).toBeGreaterThan(10);
    expect(codes, value.name).toContain(rule.grpcCode);
    expect(rule.action, value.name).not.toBe(DefaultAction.UNSPECIFIED);
  }
  const action = (name: string) =>
    getOption(ErrorReasonSchema.values.find((value) => value.name === `ERROR_REASON_${name}`)!, error_rule).action;
  expect(action("SCHEMA_VALIDATION_ERROR")).toBe(DefaultAction.REJECT);
  expect(action("AUTHORITY_EPOCH_MISMATCH")).toBe(DefaultAction.REJECT);
  expect(action("PROVIDER_TIMEOUT")).toBe(DefaultAction.RETRY_THEN_FALLBACK);
  expect(action("PROVIDER_OVERLOAD")).toBe(DefaultAction.SWITCH_OR_DEGRADE);
  expect(action("RUNTIME_INTERNAL_ERROR")).toBe(DefaultAction.ISOLATE_ABORT);
});
