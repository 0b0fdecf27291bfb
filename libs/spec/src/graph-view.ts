/** The graph of a spec that may still have faults: what could be read of its nodes and edges, with their field paths. */

import { NODE_KINDS, type NodeKind, type PortDefinition } from "@rspp/kernel/graph";
import type { CataloguedPackage, NodeCatalogue } from "./node-catalogue.ts";

export interface GraphNode {
  path: string;
  id: string;
  /** null where the kind could not be read. */
  kind: NodeKind | null;
  scope: "session" | "turn" | null;
  /** Node that takes over from it; null for none. */
  fallback: string | null;
  /** `custom` only: its package, where the catalogue has it. */
  package?: CataloguedPackage;
}

export interface PortName {
  node: string;
  port: string;
}

export interface GraphEdge {
  path: string;
  fromPath: string;
  toPath: string;
  id: string;
  from: PortName;
  to: PortName;
}

export interface GraphView {
  nodes: GraphNode[];
  edges: GraphEdge[];
  /** False where a node or edge was left out as unreadable; checks for absence would then report twice. */
  idsComplete: boolean;
  kindsComplete: boolean;
  edgesComplete: boolean;
}

type Loose = Readonly<Record<string, unknown>>;

export function looseField(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key) ? (value as Loose)[key] : undefined;
}

function looseText(value: unknown, key: string): string | undefined {
  const field = looseField(value, key);
  return typeof field === "string" ? field : undefined;
}

/** `node.port`; undefined for anything else. */
export function parsePort(text: string): PortName | undefined {
  const dot = text.indexOf(".");
  if (dot <= 0 || dot === text.length - 1) return undefined;
  return { node: text.slice(0, dot).trim(), port: text.slice(dot + 1).trim() };
}

/** Both ends of an edge in either form. */
export function parseEdge(edge: unknown): { from: PortName; to: PortName; short: boolean } | undefined {
  const short = typeof edge === "string";
  const [left, right] = short ? edge.split("->") : [looseText(edge, "from"), looseText(edge, "to")];
  const from = left === undefined ? undefined : parsePort(left);
  const to = right === undefined ? undefined : parsePort(right);
  return from === undefined || to === undefined ? undefined : { from, to, short };
}

/** The id an edge has when its author gave none. */
export function edgeIdOf(from: PortName, to: PortName): string {
  return `${from.node}.${from.port}->${to.node}.${to.port}`;
}

/** @param document a walked spec; fields that were wrong are absent. */
export function viewGraph(document: unknown, nodeCatalogue?: NodeCatalogue): GraphView {
  const view: GraphView = { nodes: [], edges: [], idsComplete: true, kindsComplete: true, edgesComplete: true };
  const nodes = looseField(document, "nodes");
  const edges = looseField(document, "edges");
  if (Array.isArray(nodes)) for (const [i, node] of nodes.entries()) addNode(view, node, `nodes[${i}]`, nodeCatalogue);
  else view.idsComplete = view.kindsComplete = false;
  if (Array.isArray(edges)) for (const [i, edge] of edges.entries()) addEdge(view, edge, `edges[${i}]`);
  else view.edgesComplete = false;
  return view;
}

function addNode(view: GraphView, node: unknown, path: string, nodeCatalogue: NodeCatalogue | undefined): void {
  const id = looseText(node, "id");
  const kind = looseText(node, "kind");
  const scope = looseText(node, "scope");
  const known = kind !== undefined && Object.hasOwn(NODE_KINDS, kind) ? (kind as NodeKind) : null;
  if (known === null) view.kindsComplete = false;
  if (id === undefined) {
    view.idsComplete = false;
    return;
  }
  const found = known === "custom" ? nodeCatalogue?.(looseText(node, "package") ?? "") : undefined;
  view.nodes.push({
    path,
    id,
    kind: known,
    scope: scope === "session" || scope === "turn" ? scope : null,
    fallback: looseText(node, "fallback") ?? null,
    ...(found === null || found === undefined ? {} : { package: found }),
  });
}

function addEdge(view: GraphView, edge: unknown, path: string): void {
  const ends = parseEdge(edge);
  if (ends === undefined) {
    view.edgesComplete = false;
    return;
  }
  const { from, to, short } = ends;
  const id = looseText(edge, "id") ?? edgeIdOf(from, to);
  view.edges.push({
    path,
    fromPath: short ? path : `${path}.from`,
    toPath: short ? path : `${path}.to`,
    id,
    from,
    to,
  });
}

/** Null where they are not known: of an unreadable kind, or of a package that is not at hand. */
export function portsOf(node: GraphNode, side: "inputs" | "outputs"): readonly PortDefinition[] | null {
  if (node.kind === "custom") return node.package?.[side] ?? null;
  return node.kind === null ? null : NODE_KINDS[node.kind][side];
}

/** Whether the edge leaves a node where a turn begins: what it carries is there once the turn is open. */
export function opensTurn(view: Pick<GraphView, "nodes">, edge: GraphEdge): boolean {
  const from = view.nodes.find((node) => node.id === edge.from.node);
  if (from === undefined) return false;
  return portsOf(from, "outputs")?.find((port) => port.name === edge.from.port)?.type === "utterance";
}

/** Ids of nodes that only take over from others; they have no edges of their own. */
export function standbysOf(view: Pick<GraphView, "nodes">): ReadonlySet<string> {
  return new Set(view.nodes.flatMap(({ fallback }) => fallback ?? []));
}

/**
 * Scope of each node by id. Kinds that may be either take what the author says, else `turn` when anything before them
 * belongs to a turn, or when they are given the words that open one.
 */
export function resolveScopes(view: Pick<GraphView, "nodes" | "edges">): Map<string, "session" | "turn"> {
  const scopes = new Map<string, "session" | "turn">();
  const open = new Set<string>();
  const standby = standbysOf(view);
  for (const node of view.nodes) {
    const fixed = node.kind === null ? "either" : (node.package?.scope ?? NODE_KINDS[node.kind].scope);
    const otherwise = standby.has(node.id) ? "turn" : "session";
    scopes.set(node.id, fixed === "either" ? (node.scope ?? otherwise) : fixed);
    if (fixed === "either" && node.scope === null) open.add(node.id);
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (const edge of view.edges) {
      if (!open.has(edge.to.node) || scopes.get(edge.to.node) === "turn") continue;
      if (scopes.get(edge.from.node) !== "turn" && !opensTurn(view, edge)) continue;
      scopes.set(edge.to.node, "turn");
      changed = true;
    }
  }
  return scopes;
}
