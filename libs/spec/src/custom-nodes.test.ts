import { describe, expect, test } from "vitest";
import { compileSpec } from "./compile-spec.ts";
import type { CataloguedPackage, SpecOptions } from "./node-catalogue.ts";
import { parseSpec } from "./parse-spec.ts";
import { edited, small } from "./testing.ts";

const reader: CataloguedPackage = {
  scope: "turn",
  inputs: [{ name: "text", type: "text" }],
  outputs: [{ name: "text", type: "text" }],
  digest: "a".repeat(64),
  settings: [
    { name: "style", type: "text", oneOf: ["plain", "loud"], default: "plain" },
    { name: "most", type: "number", min: 1, max: 9 },
  ],
  limits: { memoryMb: 32 },
};
const gain: CataloguedPackage = {
  scope: "either",
  inputs: [{ name: "audio", type: "audio" }],
  outputs: [{ name: "audio", type: "audio" }],
  digest: "b".repeat(64),
};
const known: Readonly<Record<string, CataloguedPackage>> = {
  "reader@1.2.0": reader,
  "reader@2.0.0": { ...reader, digest: "c".repeat(64) },
  "gain@1.0.0": gain,
};
const options: SpecOptions = { nodes: (name) => known[name] ?? null };

const between = (node: string): string =>
  edited(
    edited(
      small,
      "  - {id: segmenter, kind: segmenter}\n",
      `  - {id: own, ${node}}\n  - {id: segmenter, kind: segmenter}\n`,
    ),
    "  - llm.text -> segmenter.text\n",
    "  - llm.text -> own.text\n  - own.text -> segmenter.text\n",
  );

function problems(text: string, of: SpecOptions = options): string[] {
  const parsed = parseSpec(text, "own.yaml", undefined, of);
  if (!parsed.ok) return parsed.error.map(({ path, code }) => `${path} ${code}`);
  const made = compileSpec(parsed.value, of);
  return made.ok ? [] : made.error.map(({ path, code }) => `${path} ${code}`);
}

function graphOf(text: string) {
  const parsed = parseSpec(text, "own.yaml", undefined, options);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.error));
  const made = compileSpec(parsed.value, options);
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  return made.value;
}

describe("F-011 custom nodes in a spec", () => {
  test("ports, scope and defaults are the package's; limits are the author's, the package's, then the product's", () => {
    const limits = "limits: {max_in_flight: 4, queue: 8, when_full: reject}";
    const { graph, provenance } = graphOf(
      between(`kind: custom, package: reader@1.2.0, settings: {most: 3}, ${limits}`),
    );
    expect(graph.nodes.find(({ id }) => id === "own")).toEqual({
      id: "own",
      kind: "custom",
      scope: "turn",
      candidates: [],
      settings: { most: 3, style: "plain" },
      package: "reader@1.2.0",
      packageDigest: "a".repeat(64),
      ports: { inputs: reader.inputs, outputs: reader.outputs },
      limits: {
        maxInFlight: 4,
        queueMax: 8,
        whenFull: "reject",
        eventTimeoutMs: 1_600,
        hookTimeoutMs: 500,
        memoryMb: 32,
        cpuPercent: 100,
      },
    });
    expect(graph.edges.find(({ to }) => to.node === "own")?.buffer).toMatchObject({ maxItems: 8 });
    expect(provenance["nodes.own.limits.memoryMb"]).toBe("package/reader@1.2.0");
    expect(provenance["nodes.own.limits.maxInFlight"]).toBe("spec");
    expect(provenance["nodes.own.limits.hookTimeoutMs"]).toBe("node_kind/custom");
  });

  test("F-121 a package is pinned by version and digest: another version is another pipeline", () => {
    const [one, two] = ["reader@1.2.0", "reader@2.0.0"].map((name) =>
      graphOf(between(`kind: custom, package: ${name}`)),
    );
    expect(one?.fingerprint).not.toBe(two?.fingerprint);
    expect(problems(between("kind: custom, package: reader@1.3.0"))).toEqual(["nodes[6].package unknown_package"]);
    expect(problems(between("kind: custom, package: reader"))).toEqual(["nodes[6].package bad_format"]);
  });

  test("F-003 unlike port types are refused, naming both ports and their types", () => {
    const parsed = parseSpec(
      between("kind: custom, package: gain@1.0.0").replaceAll("own.text", "own.audio"),
      "x",
      undefined,
      options,
    );
    expect(parsed.ok ? [] : parsed.error.map(({ message }) => message)).toContain(
      "output llm.text carries text, input own.audio takes audio",
    );
    expect(problems(between("kind: custom, package: reader@1.2.0").replace("own.text ->", "own.words ->"))).toContain(
      "edges[7] unknown_port",
    );
  });

  test("settings are those the package declares", () => {
    const at = (settings: string): string[] =>
      problems(between(`kind: custom, package: reader@1.2.0, settings: {${settings}}`));
    expect(at("most: 9")).toEqual([]);
    expect(at("most: 10")).toEqual(["nodes[6].settings.most out_of_range"]);
    expect(at("style: quiet")).toEqual(["nodes[6].settings.style out_of_range"]);
    expect(at("tempo: 1")).toEqual(["nodes[6].settings.tempo unknown_field"]);
    expect(problems(between("kind: custom, package: reader@1.2.0, limits: {memory_mb: 4}"))).toEqual([
      "nodes[6].limits.memory_mb out_of_range",
    ]);
  });

  test("F-155 a node of the session neither reaches into a turn nor takes a turn's data", () => {
    const scoped = (scope: string): string =>
      edited(
        edited(
          small,
          "  - {id: segmenter, kind: segmenter}\n",
          `  - {id: own, kind: custom, package: gain@1.0.0${scope}}\n  - {id: segmenter, kind: segmenter}\n`,
        ),
        "  - tts.audio -> output.audio\n",
        "  - tts.audio -> own.audio\n  - own.audio -> output.audio\n",
      );
    expect(problems(scoped(""))).toEqual([]);
    expect(graphOf(scoped("")).graph.nodes.find(({ id }) => id === "own")?.scope).toBe("turn");
    expect(problems(scoped(", scope: session"))).toContain("edges[8] scope");
    const taps = between("kind: custom, package: reader@1.2.0, scope: session");
    expect(problems(taps)).toContain("nodes[6].scope scope");
  });

  test("without the packages at hand a spec is still checked, and does not compile", () => {
    const text = between("kind: custom, package: reader@1.2.0");
    expect(parseSpec(text, "x").ok).toBe(true);
    expect(problems(text, {})).toEqual(["nodes[6].package unknown_package"]);
  });
});

describe("F-133 the fallback of a custom node", () => {
  const pair = (spare: string, main = "package: reader@1.2.0"): string =>
    edited(
      between(`kind: custom, ${main}, fallback: spare`),
      "  - {id: segmenter,",
      `  - {id: spare, ${spare}}\n  - {id: segmenter,`,
    );
  const more: SpecOptions = {
    nodes: (name) =>
      known[name] ??
      (name === "wide@1.0.0"
        ? { ...reader, inputs: [...reader.inputs, { name: "hints", type: "text" }] }
        : name === "either@1.0.0"
          ? { ...reader, scope: "either" }
          : null),
  };

  test("F-133 another package with the same ports of text, or a canned reply", () => {
    expect(problems(pair("kind: custom, package: reader@2.0.0"))).toEqual([]);
    expect(problems(pair("kind: canned, settings: {text: Sorry.}"))).toEqual([]);
    expect(problems(pair("kind: custom, package: either@1.0.0, scope: turn"), more)).toEqual([]);
    const { graph } = graphOf(pair("kind: custom, package: reader@2.0.0"));
    expect(graph.nodes.find(({ id }) => id === "spare")).toMatchObject({ kind: "custom", scope: "turn" });
  });

  test.each([
    ["kind: custom, package: wide@1.0.0", "nodes[6].fallback not_allowed"],
    ["kind: custom, package: gain@1.0.0, scope: turn", "nodes[6].fallback not_allowed"],
    ["kind: custom, package: either@1.0.0", "nodes[7] not_allowed"],
    ["kind: filter", "nodes[6].fallback not_allowed"],
  ])("F-133 %s is refused with its place", (spare, problem) => {
    expect(problems(pair(spare), more)).toContain(problem);
  });
});
