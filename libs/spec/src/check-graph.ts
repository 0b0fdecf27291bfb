/** The rules of the graph: ids, ports and their types, cycles, scopes, required inputs (F-003, F-010; `kernel.md` §8). */
import { NODE_KINDS, type NodeKind, type PortDefinition, portsFit } from "@rspp/kernel/graph";
import { checkFallbacks } from "./check-fallback.ts";
import { checkTextNodes } from "./check-text-nodes.ts";
import type { GraphEdge, GraphNode, GraphView, PortName } from "./graph-view.ts";
import { portsOf, resolveScopes, standbysOf } from "./graph-view.ts";
import { suggest } from "./nearest.ts";
import type { ProblemText } from "./problem.ts";

/** Reports at the place of `problem.path`. */
export type Report = (problem: ProblemText) => void;

interface Checked {
  view: GraphView;
  byId: ReadonlyMap<string, GraphNode>;
  report: Report;
  /** Nodes an unreadable edge may have been meant for. */
  doubtful: Set<string>;
}

export function checkGraph(view: GraphView, report: Report): void {
  const byId = new Map<string, GraphNode>();
  for (const node of view.nodes) {
    const first = byId.get(node.id);
    if (first === undefined) {
      byId.set(node.id, node);
      continue;
    }
    report({
      path: `${node.path}.id`,
      code: "duplicate_id",
      message: `node id "${node.id}" is already used by ${first.path}`,
      remedy: "give each node an id of its own",
    });
  }
  const checked: Checked = { view, byId, report, doubtful: new Set() };
  checkEdgeIds(checked);
  for (const edge of view.edges) checkEdge(checked, edge);
  checkInputsTakenOnce(checked);
  checkRequiredInputs(checked);
  checkScopes(checked);
  checkCycles(checked);
  checkCounts(checked);
  checkTextNodes(view, report);
  checkFallbacks(view, report);
}

function checkEdgeIds({ view, report }: Checked): void {
  const seen = new Map<string, GraphEdge>();
  for (const edge of view.edges) {
    const first = seen.get(edge.id);
    if (first === undefined) {
      seen.set(edge.id, edge);
      continue;
    }
    report({
      path: edge.path,
      code: "duplicate_id",
      message: `edge "${edge.id}" is already given by ${first.path}`,
      remedy: "remove one of the two edges, or give it an id of its own",
    });
  }
}

function checkEdge(checked: Checked, edge: GraphEdge): void {
  const from = findPort(checked, edge.from, edge.fromPath, "outputs");
  const to = findPort(checked, edge.to, edge.toPath, "inputs");
  if (from === null) checked.doubtful.add(edge.to.node);
  if (to === null) checked.doubtful.add(edge.to.node);
  if (from === null || to === null || portsFit(from.type, to.type)) return;
  const takers = inputsTaking(checked, from);
  checked.report({
    path: edge.path,
    code: "port_types",
    message: `output ${edge.from.node}.${edge.from.port} carries ${from.type}, input ${edge.to.node}.${edge.to.port} takes ${to.type}`,
    remedy:
      takers.length > 0
        ? `connect ports of one type; inputs that take ${from.type}: ${takers.join(", ")}`
        : `connect ports of one type; no node here takes ${from.type}`,
  });
}

function inputsTaking({ view }: Checked, output: PortDefinition): string[] {
  return view.nodes.flatMap((node) =>
    (portsOf(node, "inputs") ?? [])
      .filter((input) => portsFit(output.type, input.type))
      .map((input) => `${node.id}.${input.name}`),
  );
}

function findPort(checked: Checked, name: PortName, path: string, side: "inputs" | "outputs"): PortDefinition | null {
  const { byId, view, report } = checked;
  const node = byId.get(name.node);
  if (node === undefined) {
    if (!view.idsComplete) return null;
    report({
      path,
      code: "unknown_node",
      message: `no node has the id "${name.node}"`,
      remedy: suggest(name.node, [...byId.keys()], "nodes"),
    });
    return null;
  }
  const ports = portsOf(node, side);
  if (ports === null) return null;
  const port = ports.find((known) => known.name === name.port);
  if (port !== undefined) return port;
  const word = side === "inputs" ? "input" : "output";
  const names = ports.map((known) => known.name);
  report({
    path,
    code: "unknown_port",
    message: `node "${name.node}" of kind ${node.kind} has no ${word} port "${name.port}"`,
    remedy:
      names.length === 0
        ? `a node of kind ${node.kind} has no ${word} ports`
        : suggest(name.port, names, `${word} ports`),
  });
  return null;
}

function checkInputsTakenOnce({ view, report }: Checked): void {
  const taken = new Map<string, GraphEdge>();
  for (const edge of view.edges) {
    const input = `${edge.to.node}.${edge.to.port}`;
    const first = taken.get(input);
    if (first === undefined) {
      taken.set(input, edge);
      continue;
    }
    if (first.id === edge.id || takesMany(view, edge)) continue;
    report({
      path: edge.toPath,
      code: "input_taken",
      message: `input ${input} is already fed by ${first.path}`,
      remedy: "feed each input from one edge",
    });
  }
}

function takesMany(view: GraphView, { to }: GraphEdge): boolean {
  const node = view.nodes.find(({ id }) => id === to.node);
  return node !== undefined && portsOf(node, "inputs")?.find(({ name }) => name === to.port)?.many === true;
}

function checkRequiredInputs({ view, byId, report, doubtful }: Checked): void {
  if (!view.edgesComplete) return;
  const fed = new Set(view.edges.map((edge) => `${edge.to.node}.${edge.to.port}`));
  const standby = standbysOf(view);
  for (const node of view.nodes) {
    if (doubtful.has(node.id) || byId.get(node.id) !== node || standby.has(node.id)) continue;
    for (const input of portsOf(node, "inputs") ?? []) {
      if (input.optional === true || fed.has(`${node.id}.${input.name}`)) continue;
      const givers = view.nodes.flatMap((other) =>
        other === node
          ? []
          : (portsOf(other, "outputs") ?? [])
              .filter((o) => portsFit(o.type, input.type))
              .map((o) => `${other.id}.${o.name}`),
      );
      const from = givers[0] ?? `<node>.<${input.type} output>`;
      report({
        path: node.path,
        code: "unconnected_input",
        message: `input ${node.id}.${input.name} (${input.type}) is not connected`,
        remedy: `add an edge, e.g. "${from} -> ${node.id}.${input.name}"`,
      });
    }
  }
}

function checkScopes(checked: Checked): void {
  const { view, byId, report } = checked;
  const scopes = resolveScopes(view);
  for (const edge of view.edges) {
    const from = byId.get(edge.from.node);
    const to = byId.get(edge.to.node);
    if (from === undefined || to === undefined || from.kind === null || to.kind === null) continue;
    if (scopes.get(from.id) !== "turn" || scopes.get(to.id) !== "session") continue;
    const fixed = NODE_KINDS[to.kind].scope === "session";
    report({
      path: edge.path,
      code: "scope",
      message: `node "${from.id}" belongs to a turn, node "${to.id}" to the session: a turn's data cannot flow back into the session`,
      remedy: fixed
        ? `remove the edge; a node of kind ${to.kind} always belongs to the session`
        : `set "scope: turn" on node "${to.id}"`,
    });
  }
}

/** One report per closing edge of a depth-first walk, which names the nodes of its cycle. */
function checkCycles({ view, byId, report }: Checked): void {
  const leaving = new Map<string, GraphEdge[]>();
  for (const edge of view.edges) {
    if (!byId.has(edge.from.node) || !byId.has(edge.to.node)) continue;
    leaving.set(edge.from.node, [...(leaving.get(edge.from.node) ?? []), edge]);
  }
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (id: string): void => {
    trail.push(id);
    for (const edge of leaving.get(id) ?? []) {
      const next = edge.to.node;
      const start = trail.indexOf(next);
      if (start >= 0) {
        const names = [...trail.slice(start), next].join(" -> ");
        const remedy = "remove one of its edges; what must come back goes through the conversation, not the graph";
        report({ path: edge.path, code: "cycle", message: `this edge closes a cycle: ${names}`, remedy });
      } else if (!done.has(next)) visit(next);
    }
    trail.pop();
    done.add(id);
  };
  for (const id of byId.keys()) if (!done.has(id)) visit(id);
}

/** How many nodes of a kind a session can have; kinds not named may occur any number of times. */
const counts: Readonly<Partial<Record<NodeKind, { min: number; max: number }>>> = {
  ingress: { min: 1, max: 1 },
  endpointing: { min: 0, max: 1 },
  context: { min: 0, max: 1 },
  llm: { min: 0, max: 1 },
  // One recogniser hears a session, and a turn speaks with one voice: two would count each clause twice as heard.
  stt: { min: 0, max: 1 },
  tts: { min: 0, max: 1 },
  dtmf: { min: 0, max: 1 },
  output: { min: 1, max: 64 },
};

function checkCounts({ view, report }: Checked): void {
  const standby = standbysOf(view);
  for (const [kind, { min, max }] of Object.entries(counts)) {
    const nodes = view.nodes.filter((node) => node.kind === kind && !standby.has(node.id));
    const extra = nodes[max];
    if (extra !== undefined) {
      report({
        path: `${extra.path}.kind`,
        code: "node_count",
        message: `a second node of kind ${kind}; a pipeline has one`,
        remedy: `remove node "${extra.id}" or node "${nodes[0]?.id ?? ""}"`,
      });
    }
    if (nodes.length >= min || !view.kindsComplete) continue;
    report({
      path: "nodes",
      code: "node_count",
      message: `the pipeline has no node of kind ${kind}`,
      remedy: `add "- {id: ${kind === "ingress" ? "caller" : kind}, kind: ${kind}}" and connect it`,
    });
  }
}
