/** Rules of text nodes in the graph: enough inputs, each from a node of its own, and words that can really come (F-010). */
import type { Report } from "./check-graph.ts";
import { type GraphEdge, type GraphNode, type GraphView, opensTurn, portsOf, resolveScopes } from "./graph-view.ts";

export function checkTextNodes(view: GraphView, report: Report): void {
  const scopes = resolveScopes(view);
  for (const node of view.nodes) {
    const into = view.edges.filter((edge) => edge.to.node === node.id);
    if (node.kind === "merge" || node.kind === "select") checkJunction(view, node, into, report);
    if (node.kind === "filter") checkFilter(view, node, into, scopes.get(node.id) ?? "session", report);
    if (node.kind === "dtmf") checkKeypad(view, node, report);
  }
  for (const edge of view.edges) checkWordsIntoTurn(view, edge, scopes, report);
}

function checkJunction(view: GraphView, node: GraphNode, into: readonly GraphEdge[], report: Report): void {
  const seen = new Set<string>();
  for (const edge of into) {
    if (seen.has(edge.from.node))
      report({
        path: edge.path,
        code: "input_taken",
        message: `node "${node.id}" is fed twice by node "${edge.from.node}", and tells its inputs apart by the node`,
        remedy: "remove one of the two edges",
      });
    seen.add(edge.from.node);
  }
  if (seen.size >= 2 || !view.edgesComplete || into.length === 0) return;
  report({
    path: node.path,
    code: "unconnected_input",
    message: `node "${node.id}" of kind ${node.kind} has one input`,
    remedy: "add an edge from another node, or remove this one",
  });
}

function checkFilter(
  view: GraphView,
  node: GraphNode,
  into: readonly GraphEdge[],
  scope: "session" | "turn",
  report: Report,
): void {
  const leaving = view.edges.filter((edge) => edge.from.node === node.id);
  const ports = new Set([...into.map((edge) => edge.to.port), ...leaving.map((edge) => edge.from.port)]);
  const text = ports.has("text");
  if (text && (ports.has("in") || ports.has("out")))
    report({
      path: node.path,
      code: "port_types",
      message: `node "${node.id}" is connected both for audio (in, out) and for text`,
      remedy: "use one filter for audio and another for text",
    });
  if (into.length === 0 && view.edgesComplete)
    report({
      path: node.path,
      code: "unconnected_input",
      message: `no input of filter "${node.id}" is connected`,
      remedy: `add an edge to ${node.id}.in for audio, or to ${node.id}.text for text`,
    });
  if (!text || scope === "turn") return;
  for (const edge of leaving) {
    const to = view.nodes.find(({ id }) => id === edge.to.node);
    if (to === undefined || to.kind === "endpointing" || to.kind === "filter") continue;
    report({
      path: edge.path,
      code: "scope",
      message: `filter "${node.id}" stands between recogniser and endpointing; what opens a turn leaves endpointing`,
      remedy: `lead ${node.id}.text into endpointing, and endpointing.utterance on to "${edge.to.node}"`,
    });
  }
}

/** Keyed-in digits that lead nowhere would open turns that can only fail. */
function checkKeypad(view: GraphView, node: GraphNode, report: Report): void {
  if (!view.edgesComplete || view.edges.some((edge) => edge.from.node === node.id)) return;
  report({
    path: node.path,
    code: "unconnected_output",
    message: `output ${node.id}.utterance is not connected`,
    remedy: `add an edge, e.g. "${node.id}.utterance -> context.utterance"`,
  });
}

/** The context is told of an utterance; text of the session becomes one at the endpoint only. */
function checkWordsIntoTurn(
  view: GraphView,
  edge: GraphEdge,
  scopes: ReadonlyMap<string, "session" | "turn">,
  report: Report,
): void {
  const to = view.nodes.find(({ id }) => id === edge.to.node);
  const input = to === undefined ? undefined : portsOf(to, "inputs")?.find(({ name }) => name === edge.to.port);
  if (input?.type !== "utterance" || opensTurn(view, edge) || scopes.get(edge.from.node) === "turn") return;
  const from = view.nodes.find(({ id }) => id === edge.from.node);
  if (from === undefined || portsOf(from, "outputs")?.find(({ name }) => name === edge.from.port)?.type !== "text")
    return;
  report({
    path: edge.path,
    code: "scope",
    message: `${edge.from.node}.${edge.from.port} is text as it is heard, ${edge.to.node}.${edge.to.port} takes what the caller has said to the end`,
    remedy: `lead it into endpointing, and endpointing.utterance to ${edge.to.node}.${edge.to.port}`,
  });
}
