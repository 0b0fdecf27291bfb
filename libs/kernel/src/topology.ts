/** The graph by number instead of name: made once per session, plain data. */
import { invariant } from "@rspp/base/invariant";
import { hasConditions } from "./conditions.ts";
import { type GraphDefinition, portsOf } from "./graph.ts";

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
  /** Only of graphs with fallbacks: node index -> the one that stands in for it (F-133). */
  fallbacks?: Record<string, number>;
  /** Only of graphs with text nodes (F-010), so that the state of all others is what it was. */
  words?: WordsTopology;
  /** Only of graphs in which an edge out of a recogniser has a cadence for its partials (F-053). */
  pacedWords?: true;
  /** Only of graphs in which a condition decides a route (F-018). */
  conditions?: true;
  /** Custom nodes by scope; only of graphs that have any (F-011). */
  customs?: { session: number[]; turn: number[] };
}

export interface WordsTopology {
  /** Given text is put where these would put theirs: the language model, else the first translators, if a select parts them. */
  speech: number[];
  /** Filters between recogniser and endpointing, in the order of the edges. */
  ears: number[];
  /** The one `dtmf` node; -1 for none. */
  keypad: number;
  /** The context waits for all of its text, since nodes of the turn make it. */
  gathers: boolean;
  /** The caller's words reach the language model as they were spoken. */
  plainEntry: boolean;
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
    for (const output of portsOf(node).outputs) ports[output.name] = [];
    t.out.push(ports);
    t.into.push([]);
    if (node.kind === "ingress") t.ingress = i;
    if (node.kind === "endpointing") t.endpointing = i;
    if (node.kind === "stt") t.recognisers.push(i);
    if (node.kind === "llm" && t.llm === -1 && !standsBy(graph, node.id)) t.llm = i;
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
  if (
    graph.edges.some(({ buffer }, e) => buffer.coalesceMs !== undefined && t.recognisers.includes(t.edgeFrom[e] ?? -1))
  )
    t.pacedWords = true;
  if (hasConditions(graph)) t.conditions = true;
  joinFallbacks(graph, t, index);
  const words = wordsOf(graph, t);
  if (words !== null) t.words = words;
  const of = (scope: "session" | "turn"): number[] =>
    graph.nodes.flatMap((node, i) => (node.kind === "custom" && node.scope === scope ? [i] : []));
  if (graph.nodes.some(({ kind }) => kind === "custom")) t.customs = { session: of("session"), turn: of("turn") };
  return t;
}

function standsBy(graph: GraphDefinition, id: string): boolean {
  return graph.nodes.some(({ fallback }) => fallback === id);
}

/** What a stand-in puts out goes where that of its node would have gone. */
function joinFallbacks(graph: GraphDefinition, t: Topology, index: Readonly<Record<string, number>>): void {
  graph.nodes.forEach(({ id, fallback }, i) => {
    if (fallback === undefined) return;
    const by = index[fallback];
    invariant(by !== undefined && by !== i, "a fallback is another node of the graph", id);
    t.fallbacks ??= {};
    t.fallbacks[i] = by;
    t.out[by] = { ...t.out[by], ...t.out[i] };
    t.into[by] = [...(t.into[i] ?? [])];
  });
}

const TEXT_KINDS: readonly string[] = ["translator", "merge", "select", "compliance", "dtmf"];

/** Null where the graph is a plain chain of the kinds there were before. */
function wordsOf(graph: GraphDefinition, t: Topology): WordsTopology | null {
  const kindOf = (node: number | undefined): string => graph.nodes[node ?? -1]?.kind ?? "";
  const own = graph.nodes.some(
    ({ kind, scope }) => TEXT_KINDS.includes(kind) || (kind === "custom" && scope === "turn"),
  );
  const filtered = graph.edges.some((_, e) => kindOf(t.edgeTo[e]) === "filter" && graph.edges[e]?.type !== "audio");
  if (!own && !filtered && t.conditions !== true && !graph.edges.some((_, e) => crosses(graph, t, e))) return null;
  const selects = graph.nodes.some(({ kind }) => kind === "select");
  const turnScoped = (node: number | undefined): boolean => graph.nodes[node ?? -1]?.scope === "turn";
  const fed = graph.edges.some((_, e) => kindOf(t.edgeTo[e]) === "context" && turnScoped(t.edgeFrom[e]));
  return {
    // Without a select all would be heard: the text would be said once for each.
    speech: t.llm !== -1 ? [t.llm] : selects ? firstTranslators(graph, t) : firstTranslators(graph, t).slice(0, 1),
    ears: earsOf(graph, t),
    keypad: graph.nodes.findIndex(({ kind }) => kind === "dtmf"),
    gathers: fed,
    plainEntry: !fed && t.entryEdges.every((e) => kindOf(t.edgeTo[e]) === "context") && !conditionBeforeModel(graph, t),
  };
}

/** What the model is asked is not known before its turn. */
function conditionBeforeModel(graph: GraphDefinition, t: Topology): boolean {
  return graph.edges.some(
    (edge, e) => edge.condition !== undefined && (t.entryEdges.includes(e) || t.edgeTo[e] === t.llm),
  );
}

/** The caller's words as they are, into an input for text. */
function crosses(graph: GraphDefinition, t: Topology, e: number): boolean {
  const to = graph.nodes[t.edgeTo[e] ?? -1] ?? { kind: "output" as const };
  const input = portsOf(to).inputs.find(({ name }) => name === graph.edges[e]?.to.port);
  return input !== undefined && input.type !== graph.edges[e]?.type;
}

/** Translators with none before them. */
function firstTranslators(graph: GraphDefinition, t: Topology): number[] {
  const above = (node: number): boolean =>
    (t.into[node] ?? []).some((e) => {
      const from = t.edgeFrom[e] ?? -1;
      return graph.nodes[from]?.kind === "translator" || above(from);
    });
  return graph.nodes.flatMap(({ kind, id }, i) =>
    kind === "translator" && !above(i) && !standsBy(graph, id) ? [i] : [],
  );
}

function earsOf(graph: GraphDefinition, t: Topology): number[] {
  const ears: number[] = [];
  const textInto = (node: number): number => (t.into[node] ?? []).find((e) => graph.edges[e]?.to.port === "text") ?? -1;
  if (t.endpointing === -1) return ears;
  for (let e = textInto(t.endpointing); e !== -1; ) {
    const from = t.edgeFrom[e] ?? -1;
    if (graph.nodes[from]?.kind !== "filter") break;
    ears.unshift(from);
    e = textInto(from);
  }
  return ears;
}
