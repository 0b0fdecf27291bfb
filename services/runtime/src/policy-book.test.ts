import { create } from "@bufbuild/protobuf";
import { canonicalJson } from "@rspp/base/canonical-json";
import { CircuitState } from "@rspp/gen/rspp/provider/v1/provider_pb";
import { PolicySnapshotSchema, ProviderHealthSnapshotSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import { compileSpec } from "@rspp/spec/compile-spec";
import { expandTemplate } from "@rspp/spec/parse-spec";
import { parsePublished } from "@rspp/spec/published/documents";
import { expect, test } from "vitest";
import { PolicyBook } from "./policy-book.ts";

const document = (tenantId: string, text: string, name = "main", version = 1) => {
  const read = parsePublished(text, "f.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  const content = new TextEncoder().encode(canonicalJson(read.value.content));
  return { tenantId, name, version, digest: new Uint8Array(32), content };
};
const configured = (tenantId: string, providers: string, name?: string) =>
  document(tenantId, `schema: rspp/provider-config/v1\nname: main\nproviders: ${providers}\n`, name);
const cheapest = document(
  "*",
  `schema: rspp/policy/v1
name: default
version: "1"
rules: [{id: cheapest, order: price, candidates: {llm: [v/a, v/b]}}]
`,
  "default",
);

function pipeline() {
  const providers = {
    stt: { candidates: ["sim/stt"] },
    llm: { candidates: ["v/a", "v/b"] },
    tts: { candidates: ["sim/tts"] },
  };
  const spec = expandTemplate({ template: "voice-assistant", providers });
  const compiled = spec.ok ? compileSpec(spec.value) : spec;
  if (!compiled.ok) throw new Error("the template holds");
  return compiled.value;
}

const names = ["v/a", "v/b", "sim/stt", "sim/tts"];
const llmOf = (book: PolicyBook, tenant: string) =>
  book.resolve(pipeline(), { tenant, pipeline: "p", vars: {} }, names)?.bindings.llm?.map(({ provider }) => provider);
const taken = (book: PolicyBook, part: Parameters<typeof create<typeof PolicySnapshotSchema>>[1]) =>
  book.takePolicies(create(PolicySnapshotSchema, part));

test("F-102 the configuration of providers decides without the spec: prices for a policy, and who is not to be used", () => {
  const book = new PolicyBook("eu");
  expect(taken(book, { policies: [cheapest] })).toBeNull();
  expect(llmOf(book, "acme")).toEqual(["v/a", "v/b"]);
  const platform = configured("*", "{v/a: {price: 3}, v/b: {price: 2}}");
  expect(taken(book, { policies: [cheapest], providerConfigs: [platform] })).toBeNull();
  expect(llmOf(book, "acme")).toEqual(["v/b", "v/a"]);
  // A tenant's own is laid over the platform's, field by field, and is nobody else's.
  const own = configured("acme", "{v/b: {enabled: false}}");
  expect(taken(book, { policies: [cheapest], providerConfigs: [platform, own] })).toBeNull();
  expect(llmOf(book, "acme")).toEqual(["v/a"]);
  expect(llmOf(book, "other")).toEqual(["v/b", "v/a"]);
  // Without a policy as well; and back again with the version of before.
  expect(taken(book, { providerConfigs: [configured("*", "{v/a: {enabled: false}}")] })).toBeNull();
  expect(llmOf(book, "acme")).toEqual(["v/b", "v/a"]);
  expect(taken(book, {})).toBeNull();
  expect(llmOf(book, "acme")).toBeUndefined();
});

test("F-060 F-066 a live price beats the configured one; signals too old leave the configured one", () => {
  const book = new PolicyBook("eu");
  taken(book, { policies: [cheapest], providerConfigs: [configured("*", "{v/a: {price: 3}, v/b: {price: 2}}")] });
  const health = { provider: "v/b", circuit: CircuitState.CLOSED, version: "1", priceMicros: 9_000_000n };
  book.takeHealth(create(ProviderHealthSnapshotSchema, { providers: [{ health, available: true, reporters: 1 }] }));
  expect(llmOf(book, "acme")).toEqual(["v/b", "v/a"]);
  book.healthKnown(true);
  expect(llmOf(book, "acme")).toEqual(["v/a", "v/b"]);
  book.healthKnown(false);
  expect(llmOf(book, "acme")).toEqual(["v/b", "v/a"]);
});

test("F-102 a configuration this build cannot read is refused whole, and the one of before stays", () => {
  const book = new PolicyBook("eu");
  taken(book, { policies: [cheapest], providerConfigs: [configured("*", "{v/a: {price: 3}, v/b: {price: 2}}")] });
  const odd = { ...configured("*", "{v/a: {price: 1}}"), content: new TextEncoder().encode('{"format":"later/v9"}') };
  expect(taken(book, { policies: [cheapest], providerConfigs: [odd] })).toContain("*/main@1");
  expect(llmOf(book, "acme")).toEqual(["v/b", "v/a"]);
});
