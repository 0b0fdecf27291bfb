/** Rules of fallback nodes (F-007, F-133): what may take over from what. */
import type { NodeKind } from "@rspp/kernel/graph";
import type { Report } from "./check-graph.ts";
import type { GraphNode, GraphView } from "./graph-view.ts";
import { portsOf } from "./graph-view.ts";
import { suggest } from "./nearest.ts";

/** Kinds that may have a fallback: what works in a turn and can fail. */
export const FALLBACK_KINDS: readonly NodeKind[] = ["llm", "tts", "translator", "custom"];

/** What may take over from a kind. */
const takers: Readonly<Partial<Record<NodeKind, readonly NodeKind[]>>> = {
  llm: ["canned", "llm"],
  tts: ["tts"],
  translator: ["canned", "filter"],
  // Of text: a canned reply is put out on "text"; another package has to have the same ports.
  custom: ["canned", "custom"],
};

export function checkFallbacks(view: GraphView, report: Report): void {
  const taken = new Map<string, GraphNode>();
  for (const node of view.nodes) {
    if (node.fallback === null || node.kind === null) continue;
    checkOne(view, node, node.fallback, report);
    const first = taken.get(node.fallback);
    if (first !== undefined)
      report({
        path: `${node.path}.fallback`,
        code: "not_allowed",
        message: `node "${node.fallback}" is the fallback of node "${first.id}" already`,
        remedy: "give each node a fallback of its own",
      });
    taken.set(node.fallback, node);
  }
  checkCanned(view, report);
}

function checkOne(view: GraphView, node: GraphNode, to: string, report: Report): void {
  const path = `${node.path}.fallback`;
  const other = view.nodes.find(({ id }) => id === to);
  if (other === undefined) {
    if (!view.idsComplete) return;
    const ids = view.nodes.map(({ id }) => id);
    return report({
      path,
      code: "unknown_node",
      message: `no node has the id "${to}"`,
      remedy: suggest(to, ids, "nodes"),
    });
  }
  const able = node.kind === null ? [] : (takers[node.kind] ?? []);
  if (other === node || (other.kind !== null && !able.includes(other.kind)))
    report({
      path,
      code: "not_allowed",
      message: `node "${to}" cannot take over from node "${node.id}" of kind ${node.kind ?? ""}`,
      remedy: `name another node of kind ${able.join(" or ")}`,
    });
  if (node.kind === "custom" && other.kind === "custom") checkPackages(node, other, path, report);
  if (
    node.kind === "custom" &&
    other.kind !== "custom" &&
    node.package?.outputs.some(({ name, type }) => name === "text" && type === "text") === false
  )
    report({
      path,
      code: "not_allowed",
      message: `node "${node.id}" has no output "text" of text that a canned reply could stand in for`,
      remedy: "remove the fallback, or name the package's output text",
    });
  if (other.fallback !== null)
    report({
      path: `${other.path}.fallback`,
      code: "not_allowed",
      message: `node "${to}" is a fallback and has one itself`,
      remedy: "remove it: where a fallback fails, too, the turn ends",
    });
  const edge = view.edges.find(({ from, to: end }) => from.node === to || end.node === to);
  if (edge !== undefined)
    report({
      path: edge.path,
      code: "not_allowed",
      message: `node "${to}" is a fallback: it takes over the edges of node "${node.id}"`,
      remedy: "remove this edge",
    });
}

/** What one package leaves undone another can only take up where both have the same ports, of text, in a turn. */
function checkPackages(node: GraphNode, other: GraphNode, path: string, report: Report): void {
  const [own, its] = [node.package, other.package];
  // A package that is not known here is told of elsewhere.
  if (own === null || own === undefined || its === null || its === undefined) return;
  const ports = ({ inputs, outputs }: NonNullable<GraphNode["package"]>): string =>
    JSON.stringify([inputs, outputs].map((of) => of.map(({ name, type }) => `${name}: ${type}`).sort()));
  if (ports(own) !== ports(its) || [...own.inputs, ...own.outputs].some(({ type }) => type !== "text"))
    report({
      path,
      code: "not_allowed",
      message: `node "${other.id}" cannot take over from node "${node.id}": their packages have not the same ports of text`,
      remedy: "name a package with the same inputs and outputs, all of text, or a node of kind canned",
    });
  if (its.scope !== "turn" && other.scope !== "turn")
    report({
      path: other.path,
      code: "not_allowed",
      message: `node "${other.id}" stands by in each turn and is a node of the session`,
      remedy: "add `scope: turn` to it",
    });
}

/** One that is given nothing says nothing. */
function checkCanned(view: GraphView, report: Report): void {
  if (!view.edgesComplete) return;
  for (const node of view.nodes) {
    if (node.kind !== "canned" || view.nodes.some(({ fallback }) => fallback === node.id)) continue;
    if (view.edges.some(({ to }) => to.node === node.id)) continue;
    const [first] = portsOf(node, "inputs") ?? [];
    report({
      path: node.path,
      code: "unconnected_input",
      message: `node "${node.id}" of kind canned is given nothing`,
      remedy: `name it as "fallback: ${node.id}" of a language model, or add an edge to ${node.id}.${first?.name ?? "text"}`,
    });
  }
}
