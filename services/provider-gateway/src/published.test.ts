import { create } from "@bufbuild/protobuf";
import { ActiveDocumentSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import { expect, test } from "vitest";
import { publishedTerms, publishedVendors } from "./published.ts";

function document(tenantId: string, providers: object, format = "rspp/provider-config/v1") {
  const content = new TextEncoder().encode(JSON.stringify({ format, config: { name: "main", providers } }));
  return create(ActiveDocumentSchema, { tenantId, name: "main", version: 3, content });
}

test("F-102 the platform's documents alone say where a gateway sends and which key it reads", () => {
  const platform = document("*", { "a/chat": { endpoint: "https://a.example", settings: { api_key: "env:A" } } });
  const tenant = document("acme", { "a/chat": { endpoint: "https://evil.example" } });
  expect(publishedVendors([platform, tenant])).toEqual({
    "a/chat": { endpoint: "https://a.example", settings: { api_key: "env:A" } },
  });
});

test("F-102 a later document counts field by field, but an endpoint never takes another's key along", () => {
  const first = document("*", { "a/chat": { endpoint: "https://a.example", settings: { api_key: "env:A" } } });
  const more = document("*", { "a/chat": { enabled: false } });
  expect(publishedVendors([first, more])).toMatchObject({
    "a/chat": { enabled: false, settings: { api_key: "env:A" } },
  });
  const moved = document("*", { "a/chat": { endpoint: "https://b.example" } });
  expect(publishedVendors([first, moved])).toEqual({ "a/chat": { endpoint: "https://b.example", settings: {} } });
});

test("F-102 what cannot be read is refused by its name, and so is not in force", () => {
  expect(publishedVendors([document("*", {}, "rspp/provider-config/v9")])).toContain("*/main@3");
  const broken = create(ActiveDocumentSchema, { tenantId: "*", name: "x", version: 1, content: new Uint8Array([1]) });
  expect(publishedVendors([broken])).toContain("*/x@1");
});

test("F-102 limits and prices are taken of every tenant's documents, each under its own name", () => {
  const platform = document("*", { "a/chat": { concurrency_max: 5 } });
  const more = document("*", { "a/chat": { enabled: false } });
  const tenant = document("acme", { "a/chat": { limits: { requests_per_minute_max: 60 } } });
  expect([...publishedTerms([platform, more, tenant])]).toEqual([
    ["*", { "a/chat": { concurrency_max: 5, enabled: false } }],
    ["acme", { "a/chat": { limits: { requests_per_minute_max: 60 } } }],
  ]);
});
