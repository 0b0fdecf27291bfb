import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { explainRows } from "../explain-spec.ts";
import { compiled, readSpecFile } from "../testing.ts";
import { applyPolicy, resolvePolicy } from "./apply-policy.ts";
import { evaluatePolicy, NO_POLICY } from "./evaluate.ts";
import { parsePolicy, providersOf } from "./parse-policy.ts";
import type { PolicyDocument, PolicyFacts } from "./policy.ts";

const shipped = readFileSync(new URL("../../../../pipelines/policies/default.yaml", import.meta.url), "utf8");

function policy(text: string): PolicyDocument {
  const read = parsePolicy(text, "policy.yaml");
  if (!read.ok) throw new Error(read.error.map(({ line, path, message }) => `${line} ${path}: ${message}`).join("\n"));
  return read.value;
}

const rules = (text: string) => policy(`schema: rspp/policy/v1\nname: p\nversion: 1\nrules:\n${text}`);

const facts = (part: Partial<PolicyFacts> = {}): PolicyFacts => ({
  tenant: "acme",
  pipeline: "voice-assistant",
  language: "en-US",
  region: "eu",
  costTier: "basic",
  vars: {},
  providers: {},
  ...part,
});

const order = (document: PolicyDocument, given: Partial<PolicyFacts> = {}) =>
  evaluatePolicy(document, facts(given)).candidates.llm?.map(({ provider }) => provider);

test("F-056 tenant, language, region and cost tier choose the providers, and the trace says which rule did", () => {
  const table = rules(`
  - {id: acme-german, when: 'tenant == "acme" && language.startsWith("de")', candidates: {llm: [v/german]}}
  - {id: far-east, when: 'region in ["jp", "kr"]', candidates: {llm: [v/east, v/world]}}
  - {id: premium, when: cost_tier == "premium", candidates: {llm: [v/large], tts: [v/voice]}}
  - {id: rest, candidates: {llm: [v/small]}}`);
  expect(order(table, { language: "de-DE" })).toEqual(["v/german"]);
  expect(order(table, { language: "de-DE", tenant: "other" })).toEqual(["v/small"]);
  expect(order(table, { region: "jp" })).toEqual(["v/east", "v/world"]);
  expect(order(table, { costTier: "premium" })).toEqual(["v/large"]);
  expect(order(table)).toEqual(["v/small"]);
  // The first that gives a part decides it; parts are decided apart.
  const both = evaluatePolicy(table, facts({ costTier: "premium", region: "kr" }));
  expect(both.trace).toEqual([
    { rule: "acme-german", held: false, decides: [] },
    { rule: "far-east", held: true, decides: ["candidates.llm"] },
    { rule: "premium", held: true, decides: ["candidates.tts"] },
    { rule: "rest", held: true, decides: [] },
  ]);
});

test("F-066 the cheapest comes first while all prices are known; without one the listed order stands, with the reason", () => {
  const priced = rules(`
  - {id: cheap, candidates: {llm: [v/a, v/b, v/c]}, order: price}`);
  const prices = (a?: number, b?: number, c?: number) => ({
    "v/a": a === undefined ? {} : { priceMicros: a },
    "v/b": b === undefined ? {} : { priceMicros: b },
    "v/c": c === undefined ? {} : { priceMicros: c },
  });
  expect(order(priced, { providers: prices(30, 10, 20) })).toEqual(["v/b", "v/c", "v/a"]);
  expect(order(priced, { providers: prices(10, 10, 5) })).toEqual(["v/c", "v/a", "v/b"]);
  for (const providers of [prices(30, 10), {}]) {
    const result = evaluatePolicy(priced, facts({ providers }));
    expect(result.candidates.llm?.map(({ provider }) => provider)).toEqual(["v/a", "v/b", "v/c"]);
    expect(result.reasons.join()).toMatch(/no price of v\/[ac] is known, the order of the list is taken/);
  }
  // A rule that needs a price that is not there does not hold, and says so.
  const needs = rules(`
  - {id: dear, when: 'providers["v/a"].price < 20', candidates: {llm: [v/a]}}
  - {id: rest, candidates: {llm: [v/b]}}`);
  expect(order(needs, { providers: prices(5) })).toEqual(["v/a"]);
  const missing = evaluatePolicy(needs, facts());
  expect(missing.candidates.llm?.[0]?.provider).toBe("v/b");
  expect(missing.reasons.join()).toContain("rule dear does not hold");
});

test("F-060 a provider that is not well comes last, and first again when it is", () => {
  const listed = rules("\n  - {id: all, candidates: {llm: [v/a, v/b]}}");
  expect(order(listed, { providers: { "v/a": { healthy: false } } })).toEqual(["v/b", "v/a"]);
  expect(order(listed, { providers: { "v/a": { available: false }, "v/b": { healthy: true } } })).toEqual([
    "v/b",
    "v/a",
  ]);
  expect(order(listed, { providers: { "v/a": { healthy: true } } })).toEqual(["v/a", "v/b"]);
});

test("F-060 without a policy the pipeline's own candidates are put in order by health", () => {
  const pipeline = compiled(readSpecFile("voice-assistant.yaml"));
  const model = pipeline.graph.nodes.find(({ candidates }) => candidates.length > 1);
  const names = model?.candidates.map(({ provider }) => provider) ?? [];
  expect(names.length).toBeGreaterThan(1);
  const options = { policy: "", available: names };
  expect(resolvePolicy(pipeline, NO_POLICY, facts(), options)).toBeNull();
  const providers = { [names[0] ?? ""]: { healthy: false } };
  const found = resolvePolicy(pipeline, NO_POLICY, facts({ providers }), options);
  expect(found?.bindings[model?.id ?? ""]?.map(({ provider }) => provider)).toEqual([...names.slice(1), names[0]]);
});

test("F-056 a policy's provider takes over what all candidates of the node share; what cannot serve here is left out", () => {
  const pipeline = compiled(readSpecFile("voice-assistant.yaml"));
  const node = pipeline.graph.nodes.find(({ kind }) => kind === "tts");
  const known = node?.candidates[0];
  const document = rules(`
  - {id: all, candidates: {tts: [v/new, {name: ${known?.provider}, settings: {speed: 1.5}}, v/absent]}}`);
  const available = ["v/new", known?.provider ?? ""];
  const result = evaluatePolicy(document, facts());
  const bound = resolvePolicy(pipeline, result, facts(), { policy: "*/p@1", available })?.bindings[node?.id ?? ""];
  expect(bound?.map(({ provider }) => provider)).toEqual(["v/new", known?.provider]);
  expect(bound?.[1]?.settings).toEqual({ ...known?.settings, speed: 1.5 });
  const none = resolvePolicy(pipeline, result, facts(), { policy: "*/p@1", available: [] });
  expect(none?.bindings).toEqual({});
  expect(none?.reasons.join()).toContain("none of the policy's candidates can serve here");
});

test("F-062 compliance nodes of a policy stand in the effective graph before the voice, with their source", () => {
  const pipeline = compiled(readSpecFile("voice-assistant.yaml"));
  const document = rules("\n  - {id: all, compliance: [{id: no-pii, settings: {emails: mask}}]}");
  const applied = applyPolicy(pipeline, evaluatePolicy(document, facts()), "policy/*/p@1");
  const { graph } = applied.pipeline;
  expect(graph.nodes.find(({ id }) => id === "policy-no-pii")).toMatchObject({
    kind: "compliance",
    settings: { emails: "mask" },
  });
  const path = ["llm"];
  for (let at = "llm"; ; ) {
    const next = graph.edges.find(({ from }) => from.node === at)?.to.node;
    if (next === undefined) break;
    path.push(next);
    at = next;
  }
  expect(path.indexOf("policy-no-pii")).toBeGreaterThan(0);
  expect(path.indexOf("policy-no-pii")).toBeLessThan(path.indexOf("tts"));
  expect(applied.changes).toHaveLength(1);
  const rows = explainRows(applied.pipeline);
  expect(rows.find((row) => row.path === "nodes.policy-no-pii.kind")?.source).toBe("policy/*/p@1");
  expect(rows.filter(({ source }) => source === "unknown")).toEqual([]);
  // Nothing else is changed, and a second time nothing at all.
  expect(graph.nodes.filter(({ id }) => !id.startsWith("policy-"))).toEqual(pipeline.graph.nodes);
  expect(applyPolicy(applied.pipeline, evaluatePolicy(document, facts()), "policy/*/p@1").changes).toEqual([]);
  expect(applyPolicy(pipeline, NO_POLICY, "").pipeline).toBe(pipeline);
});

test("F-017 a policy swaps the turn detection; what comes after it in the graph stays as it was", () => {
  const pipeline = compiled(readSpecFile("voice-assistant.yaml"));
  const noisy = evaluatePolicy(policy(shipped), facts({ vars: { room: "noisy" } }));
  const { graph } = applyPolicy(pipeline, noisy, "policy/*/default@1").pipeline;
  const settingsOf = (kind: string) => graph.nodes.find((node) => node.kind === kind)?.settings;
  expect(settingsOf("vad")).toMatchObject({ silero: "off" });
  expect(settingsOf("endpointing")).toMatchObject({ endpoint_silence_ms: 900 });
  const after = (nodes: typeof graph.nodes) =>
    nodes.filter(({ id, kind }) => kind !== "vad" && kind !== "endpointing" && !id.startsWith("policy-"));
  expect(after(graph.nodes)).toEqual(after(pipeline.graph.nodes));
  const quiet = evaluatePolicy(policy(shipped), facts());
  expect(quiet.vad).toBeNull();
});

test("F-058 the caps of the first rule that gives some are those of a turn", () => {
  const result = evaluatePolicy(policy(shipped), facts());
  expect(result.caps).toEqual({ tokens: 8_000, audioMs: 300_000, ttsCharacters: 4_000, onExceeded: "truncate" });
});

test("F-001 a policy's problems are told with line, field and remedy", () => {
  const problems = (text: string) => {
    const read = parsePolicy(text, "p.yaml");
    return read.ok ? [] : read.error.map(({ line, path, code }) => `${line} ${path} ${code}`);
  };
  const head = "schema: rspp/policy/v1\nname: p\nversion: 1\nrules:\n";
  expect(problems(`${head}  - {id: a, when: tenantt == "x"}`)).toEqual(["5 rules[0].when condition"]);
  expect(problems(`${head}  - {id: a, when: tenant.name == "x"}`)).toEqual(["5 rules[0].when condition"]);
  expect(problems(`${head}  - {id: a}\n  - {id: a}`)).toEqual(["6 rules[1].id duplicate_id"]);
  expect(problems(`${head}  - {id: a, candidates: {vision: [v/x]}}`)).toHaveLength(1);
  expect(problems(`${head}  - {id: a, caps: {on_exceeded: refuse}}`)).toEqual(["5 rules[0].caps missing_field"]);
  expect(problems(`${head}  - {id: a, order: price}`)).toEqual(["5 rules[0].order missing_field"]);
  expect(problems(`${head}  - {id: a, surprise: 1}`)).toEqual(["5 rules[0].surprise unknown_field"]);
  expect(problems(`${head}[]`)).not.toEqual([]);
  expect(providersOf(policy(shipped))).toEqual(["openai/chat", "local/responder", "sim/tts", "local/flite"]);
});
