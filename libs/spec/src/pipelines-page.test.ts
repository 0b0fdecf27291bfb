/** Every snippet of docs/pipelines.md is one that works: whole documents as they stand, the others laid over the first. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { adviceOn } from "./advice.ts";
import { compileSpec } from "./compile-spec.ts";
import { documentKind } from "./document-kind.ts";
import type { CataloguedPackage, SpecOptions } from "./node-catalogue.ts";
import { parseOverrides } from "./overrides.ts";
import { parseModule } from "./parse-module.ts";
import { parseSpec } from "./parse-spec.ts";
import { edited, shippedModules } from "./testing.ts";

interface Drawn {
  nodes?: { id: string; kind?: string }[];
  edges?: (string | { from: string; to: string })[];
  [field: string]: unknown;
}

const page = readFileSync(new URL("../../../docs/pipelines.md", import.meta.url), "utf8");
const parts = page.split(/^#+ (.+)$/m);
/** Each with the heading it stands under. */
const snippets = parts.flatMap((part, i) =>
  i % 2 === 1
    ? [...(parts[i + 1] ?? "").matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => [part, text] as const)
    : [],
);
const [[, base] = ["", ""]] = snippets;

const reader: CataloguedPackage = {
  scope: "turn",
  inputs: [{ name: "text", type: "text" }],
  outputs: [{ name: "text", type: "text" }],
  digest: "a".repeat(64),
  settings: [{ name: "least_digits", type: "number", min: 1, max: 32, default: 4 }],
};
const options: SpecOptions = { nodes: (name) => (name === "number-reader@1.0.0" ? reader : null) };

const ends = (edge: NonNullable<Drawn["edges"]>[number]) => {
  const [from = "", to = ""] = typeof edge === "string" ? edge.split(" -> ") : [edge.from, edge.to];
  return { from: from.split(".")[0] ?? "", to, into: to.split(".")[0] ?? "" };
};

/** Nodes by their id, edges by the port they lead to; a node of the base that leads nowhere any more is left out. */
function laidOver(under: Drawn, over: Drawn): Drawn {
  const own = over.nodes ?? [];
  const known = (under.nodes ?? []).map((node) => ({ ...node, ...own.find(({ id }) => id === node.id) }));
  let nodes = [...known, ...own.filter(({ id }) => !known.some((node) => node.id === id))];
  const taken = (over.edges ?? []).map((edge) => ends(edge).to);
  let edges = [...(under.edges ?? []).filter((edge) => !taken.includes(ends(edge).to)), ...(over.edges ?? [])];
  for (const _ of known) {
    const idle = nodes.filter(
      ({ id, kind }) =>
        kind !== "output" && known.some((node) => node.id === id) && !edges.some((e) => ends(e).from === id),
    );
    nodes = nodes.filter((node) => !idle.includes(node));
    edges = edges.filter((edge) => !idle.some(({ id }) => id === ends(edge).into));
  }
  return { ...under, ...over, nodes, edges };
}

/** What is wrong with a snippet, advice included. */
function problems(text: string): string[] {
  const kind = documentKind(text);
  const told = (found: readonly { path: string; message: string }[]): string[] =>
    found.map(({ path, message }) => `${path}: ${message}`);
  if (kind !== "pipeline") {
    const read = kind === "module" ? parseModule(text, "page.yaml", shippedModules) : parseOverrides(text, "page.yaml");
    return read.ok ? [] : told(read.error);
  }
  const whole = text.startsWith("schema:") ? text : stringify(laidOver(parse(base), parse(text)));
  const spec = parseSpec(whole, "page.yaml", shippedModules, options);
  if (!spec.ok) return told(spec.error);
  const compiled = compileSpec(spec.value, options);
  return compiled.ok ? told(adviceOn(spec.value)) : told(compiled.error);
}

test.each(snippets.map(([title, text], i) => [i + 1, title, text] as const))(
  "docs/pipelines.md: snippet %i, %s",
  (_, __, text) => expect(problems(text)).toEqual([]),
);

test("docs/pipelines.md: all of its snippets are looked at, and a wrong field in one would be told", () => {
  expect(snippets).toHaveLength(page.split("```yaml").length - 1);
  const dialogue = snippets.find(([, text]) => text.includes("after_ms: 8000"))?.[1] ?? "";
  expect(problems(edited(dialogue, "after_ms: 8000", "after: 8000"))[0]).toContain("policy.silence");
});
