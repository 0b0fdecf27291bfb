import { readdirSync, readFileSync } from "node:fs";
import { canonicalJson } from "@rspp/base/canonical-json";
import { expect, test } from "vitest";
import { documentKind } from "../document-kind.ts";
import { parsePublished } from "./documents.ts";

const rollout = "schema: rspp/rollout/v1\nrollout: desk\nstable: 1\n";
const provider = `schema: rspp/provider-config/v1
name: main
providers:
  openai/gpt-4o: {price: 2.5, settings: {api_key: "env:OPENAI_API_KEY"}}
`;
const nodes = `schema: rspp/node-package/v1
name: gain
version: 1.4.0
location: packages/gain
sha256: ${"ab".repeat(32)}
nodes: [gain]
`;
const module = readFileSync(new URL("../../../../pipelines/modules/spoken-answer@1.yaml", import.meta.url), "utf8");

test("F-102 every kind is told by its content; layout and comments are no part of it", () => {
  const documents = [
    ["rollout", "desk", rollout],
    ["tenant_config", "default", "schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 3}\n"],
    ["provider_config", "main", provider],
    ["node_package", "gain", nodes],
    ["module", "spoken-answer", module],
  ];
  for (const [kind = "", name = "", text = ""] of documents) {
    expect(documentKind(text)).toBe(kind);
    const read = parsePublished(text, "f.yaml");
    expect(read, kind).toMatchObject({ ok: true, value: { kind, name } });
    const commented = parsePublished(`# a comment\n${text}`, "f.yaml");
    if (!read.ok || !commented.ok) throw new Error(kind);
    expect(canonicalJson(commented.value.content)).toBe(canonicalJson(read.value.content));
  }
});

test.each(["rollouts", "tenants", "policies"])("the examples of pipelines/%s hold", (folder) => {
  const dir = new URL(`../../../../pipelines/${folder}/`, import.meta.url);
  for (const file of readdirSync(dir)) {
    expect(parsePublished(readFileSync(new URL(file, dir), "utf8"), file), file).toMatchObject({ ok: true });
  }
});

test("F-102 address, model, limits and prices of a provider are checked by field; credentials stand in no address", () => {
  const of = (fields: string) =>
    parsePublished(`schema: rspp/provider-config/v1\nname: main\nproviders:\n  v/a: {${fields}}\n`, "f.yaml");
  const good =
    "endpoint: 'https://v.example/v1', model: big-2, limits: {tokens_max: 900}, prices: {output_kilotoken_micros: 12}";
  expect(of(good)).toMatchObject({ ok: true });
  for (const [fields, path] of [
    ["endpoint: 'https://user:secret@v.example'", "providers.v/a.endpoint"],
    ["limits: {tokens_max: 0}", "providers.v/a.limits.tokens_max"],
    ["prices: {per_token: 1}", "providers.v/a.prices.per_token"],
  ] as const) {
    const read = of(fields);
    expect(read.ok ? [] : read.error).toMatchObject([{ path, line: 4 }]);
  }
});

test("F-117 a secret stands in no configuration of providers", () => {
  const read = parsePublished(provider.replace("env:OPENAI_API_KEY", "sk-abcdefghijklmnopqrstuvwxyz123456"), "f.yaml");
  expect(read.ok ? [] : read.error).toMatchObject([{ line: 4, code: "secret_literal" }]);
  expect(JSON.stringify(read)).not.toContain("abcdefghijkl");
});

test("another kind than was asked for, and a schema nobody knows, are refused with what to do", () => {
  for (const read of [parsePublished(rollout, "f.yaml", "tenant_config"), parsePublished("a: 1\n", "f.yaml")]) {
    expect(read.ok ? [] : read.error).toMatchObject([{ path: "schema", remedy: expect.stringContaining("schema") }]);
  }
});
