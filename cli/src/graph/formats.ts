/** The graph for other programs: Mermaid, Graphviz; and as a list, where a drawing is too wide. */
import type { DrawnEdge, DrawnGraph, DrawnNode } from "./model.ts";

const quoted = (text: string): string => `"${text.replaceAll('"', "'")}"`;
const idOf = (id: string): string => id.replaceAll("-", "_");

function words({ id, kind, by }: DrawnNode, newline: string): string {
  return [id, kind, ...by.slice(0, 1)].join(newline);
}

function label({ type, strategy, condition }: DrawnEdge, newline: string): string {
  return [`${type}, ${strategy}`, ...(condition === null ? [] : [`if ${condition}`])].join(newline);
}

/** Own nodes, then one group for each module, in the order of their use; nested ones within. */
function grouped(
  graph: DrawnGraph,
  node: (one: DrawnNode) => string,
  group: (id: string, use: string) => string,
  end: string,
): string[] {
  const of = (id: string | null): DrawnNode[] => graph.nodes.filter(({ module }) => (module?.id ?? null) === id);
  const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);
  const inner = (parent: string): string[] =>
    graph.modules
      .filter(({ id }) => id.startsWith(parent) && !id.slice(parent.length).includes("__"))
      .flatMap(({ id, use }) => [group(id, use), ...indent([...of(id).map(node), ...inner(`${id}__`)]), end]);
  return indent([...of(null).map(node), ...inner("")]);
}

const mermaidGroup = (id: string, use: string): string => `subgraph ${idOf(id)}_module[${quoted(`${id}: ${use}`)}]`;
const dotGroup = (id: string, use: string): string =>
  `subgraph cluster_${idOf(id)} { label=${quoted(`${id}: ${use}`)};`;

export function mermaid(graph: DrawnGraph): string {
  return [
    "flowchart LR",
    ...grouped(graph, (node) => `${idOf(node.id)}[${quoted(words(node, "<br/>"))}]`, mermaidGroup, "end"),
    ...graph.edges.map(
      (edge) =>
        `  ${idOf(edge.from)} ${edge.condition === null ? "-->" : "-.->"}|${quoted(label(edge, "<br/>"))}| ${idOf(edge.to)}`,
    ),
    ...standbys(graph).map(([from, to]) => `  ${idOf(from)} -. falls back to .-> ${idOf(to)}`),
  ].join("\n");
}

export function dot(graph: DrawnGraph): string {
  return [
    `digraph ${quoted(graph.pipeline)} {`,
    "  rankdir=LR; node [shape=box];",
    ...grouped(graph, (node) => `${quoted(node.id)} [label=${quoted(words(node, "\\n"))}];`, dotGroup, "}"),
    ...graph.edges.map((edge) => {
      const style = edge.condition === null ? "" : ", style=dashed";
      return `  ${quoted(edge.from)} -> ${quoted(edge.to)} [label=${quoted(label(edge, "\\n"))}${style}];`;
    }),
    ...standbys(graph).map(([from, to]) => `  ${quoted(from)} -> ${quoted(to)} [label="falls back to", style=dotted];`),
    "}",
  ].join("\n");
}

function standbys({ nodes }: DrawnGraph): (readonly [string, string])[] {
  return nodes.flatMap(({ id, standbyOf }) => standbyOf.map((from) => [from, id] as const));
}

/** Node by node, column by column, with what leaves it. */
export function listed(graph: DrawnGraph): string[] {
  const nodes = [...graph.nodes].sort((a, b) => a.column - b.column);
  return nodes.flatMap((node) => [
    `${String(node.column + 1).padStart(2)}  ${node.id}  (${[node.kind, node.scope, ...node.by].join(", ")})${node.module === null ? "" : `  ◆ ${node.module.use}`}`,
    ...graph.edges
      .filter(({ from }) => from === node.id)
      .map((edge) => `      ${edge.fromPort} ─▶ ${edge.to}.${edge.toPort}  ${label(edge, ", ")}`),
  ]);
}
