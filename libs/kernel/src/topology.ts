/** The graph by number instead of name: made once per session, plain data. */
import { invariant } from "@rspp/base/invariant";
import { type GraphDefinition, NODE_KINDS } from "./graph.ts";

export interface Topology {
  /** Node index -> output port -> edge indexes, in the order of the spec. */
  out: Record<string, number[]>[];
  /** Node index -> edge indexes that lead to it. */
  into: number[][];
  edgeFrom: number[];
  edgeTo: number[];
  /** The one ingress; -1 for none. */
  ingress: number;
  endpointing: number;
  /** Session-scoped recognisers. */
  recognisers: number[];
  llm: number;
  outputs: number[];
  /** Edges from session scope into a turn: the turn's entry. */
  entryEdges: number[];
}

/** @throws InvariantError for what `libs/spec` must have refused. */
export function buildTopology(graph: GraphDefinition): Topology {
  const index: Record<string, number> = Object.create(null);
  const t: Topology = {
    out: [],
    into: [],
    edgeFrom: [],
    edgeTo: [],
    ingress: -1,
    endpointing: -1,
    recognisers: [],
    llm: -1,
    outputs: [],
    entryEdges: [],
  };
  graph.nodes.forEach((node, i) => {
    invariant(index[node.id] === undefined, "node ids are unique", node.id);
    index[node.id] = i;
    const ports: Record<string, number[]> = {};
    for (const output of NODE_KINDS[node.kind].outputs) ports[output.name] = [];
    t.out.push(ports);
    t.into.push([]);
    if (node.kind === "ingress") t.ingress = i;
    if (node.kind === "endpointing") t.endpointing = i;
    if (node.kind === "stt") t.recognisers.push(i);
    if (node.kind === "llm" && t.llm === -1) t.llm = i;
    if (node.kind === "output") t.outputs.push(i);
  });
  graph.edges.forEach((edge, e) => {
    const from = index[edge.from.node];
    const to = index[edge.to.node];
    invariant(from !== undefined && to !== undefined, "an edge joins two nodes of the graph", edge.id);
    t.edgeFrom.push(from);
    t.edgeTo.push(to);
    const outEdges = t.out[from]?.[edge.from.port];
    invariant(outEdges !== undefined, "an edge leaves from an output port of its node", edge.id);
    outEdges.push(e);
    t.into[to]?.push(e);
    if (graph.nodes[from]?.scope === "session" && graph.nodes[to]?.scope === "turn") t.entryEdges.push(e);
  });
  return t;
}
