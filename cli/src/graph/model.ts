/** A compiled graph as it is drawn: nodes in columns by how far they are from the caller, edges with what they carry. */
import type { EdgeDefinition, NodeDefinition } from "@rspp/kernel/graph";
import type { CompiledPipeline } from "@rspp/spec/compiled";

export interface DrawnNode {
  readonly id: string;
  readonly kind: string;
  readonly scope: string;
  /** Providers in the order they are tried; the package of a custom node. */
  readonly by: readonly string[];
  /** Innermost module it came from, `use` and the id it is used under; null for the author's own. */
  readonly module: { readonly id: string; readonly use: string } | null;
  /** From 0: the longest way here. */
  readonly column: number;
  /** Takes over from these. */
  readonly standbyOf: readonly string[];
}

export interface DrawnEdge {
  readonly id: string;
  readonly from: string;
  readonly fromPort: string;
  readonly to: string;
  readonly toPort: string;
  readonly type: string;
  readonly strategy: string;
  readonly maxItems: number;
  readonly maxQueueMs: number;
  readonly condition: string | null;
}

export interface DrawnGraph {
  readonly pipeline: string;
  readonly fingerprint: string;
  readonly nodes: readonly DrawnNode[];
  readonly edges: readonly DrawnEdge[];
  readonly modules: readonly { readonly id: string; readonly use: string; readonly nodes: readonly string[] }[];
}

export function drawnGraph({ graph, fingerprint, modules = [] }: CompiledPipeline): DrawnGraph {
  const columns = columnsOf(graph.nodes, graph.edges);
  return {
    pipeline: graph.pipelineVersion,
    fingerprint,
    nodes: graph.nodes.map((node) => ({
      id: node.id,
      kind: node.kind,
      scope: node.scope,
      by: node.package === undefined ? node.candidates.map(({ provider }) => provider) : [node.package],
      module: modules.findLast(({ nodes }) => nodes.includes(node.id)) ?? null,
      column: columns.get(node.id) ?? 0,
      standbyOf: graph.nodes.filter(({ fallback }) => fallback === node.id).map(({ id }) => id),
    })),
    edges: graph.edges.map(({ id, from, to, type, buffer, condition }) => ({
      id,
      from: from.node,
      fromPort: from.port,
      to: to.node,
      toPort: to.port,
      type,
      strategy: buffer.strategy,
      maxItems: buffer.maxItems,
      maxQueueMs: buffer.maxQueueMs,
      condition: condition?.source ?? null,
    })),
    modules: modules.map(({ id, use, nodes }) => ({ id, use, nodes })),
  };
}

/** A compiled graph has no cycle, so this ends. A node that only takes over stands beside the one it takes over from. */
function columnsOf(nodes: readonly NodeDefinition[], edges: readonly EdgeDefinition[]): ReadonlyMap<string, number> {
  const columns = new Map(nodes.map(({ id }) => [id, 0]));
  for (let round = 0; round < nodes.length; round++) {
    for (const { from, to } of edges) {
      columns.set(to.node, Math.max(columns.get(to.node) ?? 0, (columns.get(from.node) ?? 0) + 1));
    }
  }
  for (const { id, fallback } of nodes) if (fallback !== undefined) columns.set(fallback, columns.get(id) ?? 0);
  return columns;
}
