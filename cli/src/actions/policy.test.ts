import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import type { PolicyOptions } from "../commands/policy.ts";
import { policy } from "./policy.ts";

const dir = mkdtempSync(join(tmpdir(), "rspp-policy-"));
const file = join(dir, "default.yaml");
writeFileSync(
  file,
  `schema: rspp/policy/v1
name: default
version: 1
rules:
  - {id: premium, when: cost_tier == "premium", order: price, candidates: {llm: [v/a, v/b]}}
  - {id: all, caps: {audio_seconds: 90}, compliance: [{id: no-pii, settings: {emails: mask}}]}
`,
);
let out = "";

beforeEach(() => {
  out = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += String(text);
    return true;
  });
});
afterEach(() => vi.restoreAllMocks());
afterAll(() => rmSync(dir, { recursive: true, force: true }));

// Nobody listens there: a file is tried without a platform.
const options: PolicyOptions = {
  registry: "http://127.0.0.1:1",
  tenant: "acme",
  pipeline: "",
  language: "",
  region: "",
  costTier: "",
};

test("F-056 F-126 policy try: what a policy that is not published would decide, by the facts given, with each rule's part", async () => {
  const facts = { costTier: "premium", price: ["v/a=3", "v/b=2"], unhealthy: ["v/b"] };
  expect(await policy("try", file, { ...options, ...facts, json: true })).toBe(0);
  expect(JSON.parse(out)).toMatchObject({
    candidates: { llm: [{ provider: "v/a" }, { provider: "v/b" }] },
    caps: { audio_seconds: 90, on_exceeded: "truncate" },
    compliance: [{ id: "no-pii" }],
    trace: [
      { rule: "premium", held: true, decides: ["candidates.llm"] },
      { rule: "all", held: true, decides: ["caps", "compliance.no-pii"] },
    ],
    reasons: expect.arrayContaining([expect.stringContaining("v/b is not healthy")]),
  });
  out = "";
  expect(await policy("try", file, options)).toBe(0);
  expect(out).toMatch(/premium +does not hold/);
  expect(out).toMatch(/llm +as the pipeline says/);
  expect(out).toMatch(/caps +audio_seconds 90, on_exceeded truncate/);
});

test("F-126 policy refuses what it cannot read, with the place and the remedy", async () => {
  const bad = join(dir, "bad.yaml");
  writeFileSync(bad, "schema: rspp/policy/v1\nname: default\nversion: 1\nrules: [{id: a, when: tenant ==}]\n");
  await expect(policy("try", bad, options)).rejects.toThrow(/bad\.yaml:4:\d+: error: .*when/s);
  await expect(policy("try", file, { ...options, price: ["v/a=cheap"] })).rejects.toThrow("is no price");
  await expect(policy("try", file, { ...options, var: ["room"] })).rejects.toThrow("is no name=value");
  await expect(policy("explain", file, options)).rejects.toThrow("explain: is nothing that can be done with a policy");
});
