import { type DescMessage, type DescService, fromJson } from "@bufbuild/protobuf";
import { file_rspp_lease_v1_lease_service } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { file_rspp_provider_v1_provider_service } from "@rspp/gen/rspp/provider/v1/provider_service_pb";
import { file_rspp_registry_v1_registry_service } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { file_rspp_replay_v1_timeline_service } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { file_rspp_runtime_v1_session_service } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { file_rspp_state_v1_state_service } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { validate } from "@rspp/wire/validate";
import { describe, expect, test } from "vitest";
import { referencePages } from "../actions/docs.ts";
import { createProgram } from "../program.ts";
import { limitsOf, readContracts, resolveType } from "./contracts.ts";
import { parseProto } from "./proto-source.ts";
import { sampleOf } from "./sample.ts";
import { specDefaults, specFields } from "./spec-page.ts";

const files = [
  file_rspp_registry_v1_registry_service,
  file_rspp_lease_v1_lease_service,
  file_rspp_state_v1_state_service,
  file_rspp_runtime_v1_session_service,
  file_rspp_replay_v1_timeline_service,
  file_rspp_provider_v1_provider_service,
];
const contracts = readContracts();

test("the part of the language that the contracts use is read", () => {
  const { services, messages, enums } = parseProto(`// About the file.
syntax = "proto3";
package a.b.v1;
// What it does.
service S {
  // Streams.
  rpc Call(stream Ask) returns (stream other.v1.Answer);
  // Told to some.
  rpc Tell(Ask) returns (Ask) {
    option (rspp.common.v1.access) = {
      role: ROLE_VIEWER
      scope: ACCESS_SCOPE_NONE
    };
  }
}
// Asked.
message Ask {
  // Inner.
  message In {}
  // Text.
  string text = 1 [
    (buf.validate.field).string.max_len = 64,
    (buf.validate.field).cel = {id: "x", message: "no, never", expression: "true"}
  ];
  oneof one {
    option (buf.validate.oneof).required = true;
    // First.
    In first = 2;
  }
  // By name.
  map<string, string> named = 3;
  // Many.
  repeated uint32 many = 4 [(buf.validate.field).repeated.max_items = 2];
  option (buf.validate.message).cel = { id: "y" expression: "{}" };
}
// Words.
enum E {
  // None.
  E_UNSPECIFIED = 0;
  // One.
  E_ONE = 1 [(rule) = { code: "X" }];
}
`);
  expect(services[0]?.methods[0]).toMatchObject({ input: "Ask", clientStreams: true, output: "other.v1.Answer" });
  expect(services[0]?.methods.map(({ name, role }) => [name, role])).toEqual([
    ["Call", ""],
    ["Tell", "viewer"],
  ]);
  expect(messages.map(({ name }) => name)).toEqual(["Ask", "Ask.In"]);
  const [ask] = messages;
  expect(ask?.fields.map(({ name, type, oneof, about }) => [name, type, oneof, about])).toEqual([
    ["text", "string", "", "Text."],
    ["first", "In", "one", "First."],
    ["named", "map<string, string>", "", "By name."],
    ["many", "uint32", "", "Many."],
  ]);
  expect(limitsOf(ask?.fields[0] ?? { options: [] })).toEqual(["max_len 64", "no, never"]);
  expect(enums[0]?.values).toEqual([
    { name: "E_UNSPECIFIED", number: 0, about: "None." },
    { name: "E_ONE", number: 1, about: "One." },
  ]);
});

describe("F-129 reference from the contracts", () => {
  test("F-129 every service, call, message and field of the generated code is told, each with words", () => {
    for (const file of files) {
      for (const service of file.services) {
        const told = contracts.packages.get(file.proto.package)?.services.find(({ name }) => name === service.name);
        expect(told?.methods.map(({ name }) => name)).toEqual(service.methods.map(({ name }) => name));
        for (const method of told?.methods ?? []) expect(method.about, method.name).not.toBe("");
      }
      for (const message of file.messages) expectTold(message);
    }
  });

  test("F-129 every example is legal by the contract it stands in", () => {
    const calls = files.flatMap((file) => file.services).flatMap((service: DescService) => service.methods);
    expect(calls.length).toBeGreaterThan(20);
    for (const { input } of calls) {
      const sample = sampleOf(input.typeName, contracts);
      const checked = validate(input, fromJson(input, sample));
      expect(checked.ok ? [] : checked.error.violations, `${input.typeName} ${JSON.stringify(sample)}`).toEqual([]);
    }
  });

  test("F-129 the spec's fields have limits, kinds and the profile's defaults; every page names the version", () => {
    const fields = new Map(specFields().map((field) => [field.path, field]));
    expect(fields.get("budgets.turn_first_output_ms")).toMatchObject({ type: "integer", limits: "100 to 60000" });
    expect(fields.get("nodes[].settings.endpoint_silence_ms")?.kinds).toEqual(["endpointing"]);
    expect(fields.get("nodes[].id")).toMatchObject({ required: true, kinds: [] });
    expect(specDefaults().get("budgets.turn_first_output_ms")).toBe("2000");
    expect(specDefaults().get("recording.level")).toBe("L0");
    const pages = referencePages(createProgram(() => {}));
    for (const [name, text] of pages) expect(text, name).toMatch(/Version \d+\.\d+\.\d+ of RSPP, schema version \d+/);
    // Every link leads to a page and a heading that is there.
    for (const [name, text] of pages)
      for (const [, page = "", at] of text.matchAll(/\]\(([\w.-]*\.md)?(?:#([\w-]+))?\)/g)) {
        const target = pages.get(page === "" ? name : page) ?? "";
        const headings = [...target.matchAll(/^#+ (.+)$/gm)].map(([, words = ""]) =>
          words.toLowerCase().replace(/[^\w-]/g, ""),
        );
        if (at === undefined) expect(target, page).not.toBe("");
        else expect(headings, `${name} -> ${page}#${at}`).toContain(at);
      }
  });
});

function expectTold(message: DescMessage): void {
  const told = contracts.messages.get(resolveType(message.typeName, "", contracts));
  expect(
    told?.fields.map(({ name }) => name),
    message.typeName,
  ).toEqual(message.fields.map(({ name }) => name));
  for (const field of told?.fields ?? []) expect(field.about, `${message.typeName}.${field.name}`).not.toBe("");
}
