import { readdirSync, readFileSync } from "node:fs";
import { compileSpec } from "@rspp/spec/compile-spec";
import { parseSpec } from "@rspp/spec/parse-spec";
import { describe, expect, test } from "vitest";
import { modulesBeside } from "../module-files.ts";
import { Canvas } from "./canvas.ts";
import { drawGraph } from "./drawing.ts";
import { dot, listed, mermaid } from "./formats.ts";
import { drawnGraph } from "./model.ts";

const folder = new URL("../../../pipelines/specs/", import.meta.url);

function graphOf(text: string) {
  const spec = parseSpec(text, "x.yaml", modulesBeside(new URL("x.yaml", folder).pathname));
  if (!spec.ok) throw new Error(spec.error[0]?.message);
  const compiled = compileSpec(spec.value);
  if (!compiled.ok) throw new Error(compiled.error[0]?.message);
  return drawnGraph(compiled.value);
}

const modular = `schema: rspp/pipeline/v1
name: heard
version: 1
modules:
  - {id: ear, use: listening@1, with: {recogniser: sim/stt}}
nodes:
  - {id: caller, kind: ingress}
  - {id: context, kind: context}
  - {id: llm, kind: llm, provider: {candidates: [local/responder]}}
  - {id: output, kind: output}
  - {id: tts, kind: tts, provider: {candidates: [local/flite]}}
edges:
  - caller.audio -> ear.audio
  - ear.utterance -> context.utterance
  - context.messages -> llm.messages
  - {from: llm.text, to: tts.text, condition: 'event.chars > 3'}
  - tts.audio -> output.audio
`;

describe("rspp graph", () => {
  test("F-081 a small graph is drawn with its nodes, what flows, buffers and modules", () => {
    expect(drawGraph(graphOf(modular)).rows.slice(0, 22)).toEqual([
      "┌──────────────────┐",
      "│ caller           │",
      "│ ingress, session │",
      "└─┬─┬──────────────┘",
      "  │ └───────────────────────┐",
      "  │                         │",
      "  ▼ audio drop_oldest       ▼ audio drop_oldest",
      "┌─────────────────────┐   ┌─────────────────────┐",
      "│ ear__vad            │   │ ear__stt            │",
      "│ vad, session        │   │ stt, session        │",
      "│ ◆ listening@1       │   │ sim/stt             │",
      "└─┬───────────────────┘   │ ◆ listening@1       │",
      "  │                       └─┬───────────────────┘",
      "  │                       ┌─┘",
      "  │                       │",
      "  ▼ activity drop_oldest  ▼ text coalesce",
      "┌─────────────────────────────────────────┐",
      "│ ear__endpointing                        │",
      "│ endpointing, session                    │",
      "│ ◆ listening@1                           │",
      "└─┬───────────────────────────────────────┘",
      "  │",
    ]);
  });

  test.each(readdirSync(folder))(
    "F-081 the shipped %s is drawn in every format, every node once and every edge",
    (file) => {
      const graph = graphOf(readFileSync(new URL(file, folder), "utf8"));
      const { rows } = drawGraph(graph);
      for (const { id } of graph.nodes) {
        expect(
          rows.filter((row) => new RegExp(`│ ${id} +│`).test(row)),
          id,
        ).toHaveLength(1);
        for (const text of [mermaid(graph), dot(graph), listed(graph).join("\n")]) expect(text).toContain(id);
      }
      expect(rows.join("").split("▼")).toHaveLength(graph.edges.length + 1);
      expect(listed(graph).filter((row) => row.includes("─▶"))).toHaveLength(graph.edges.length);
      expect(mermaid(graph).match(/-->|-\.->\|/g) ?? []).toHaveLength(graph.edges.length);
      // Who stands in for whom is drawn besides, dotted.
      const standIns = graph.nodes.reduce((sum, { standbyOf }) => sum + standbyOf.length, 0);
      expect(mermaid(graph).match(/falls back to/g) ?? []).toHaveLength(standIns);
      expect(dot(graph).match(/ -> /g) ?? []).toHaveLength(graph.edges.length + standIns);
    },
  );

  test("F-081 modules are groups, conditions are shown", () => {
    expect(mermaid(graphOf(modular))).toContain('  subgraph ear_module["ear: listening@1"]\n    ear__vad');
    expect(dot(graphOf(modular))).toContain('subgraph cluster_ear { label="ear: listening@1";');
    expect(mermaid(graphOf(modular))).toContain('llm -.->|"text, block<br/>if event.chars > 3"| tts');
  });

  test("lines that meet become corners, tees and crossings", () => {
    const canvas = new Canvas();
    canvas.vertical(2, 0, 2);
    canvas.horizontal(1, 0, 4);
    canvas.box(6, 0, 3, 3);
    expect(canvas.rows()).toEqual(["  ╷   ┌─┐", "╶─┼─╴ │ │", "  ╵   └─┘"]);
  });
});
