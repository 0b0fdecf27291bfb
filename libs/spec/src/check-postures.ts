/** Rules of degrade postures: each names nodes of a turn, and what takes settings (F-048, F-137). */
import { NODE_KINDS } from "@rspp/kernel/graph";
import type { Report } from "./check-graph.ts";
import { type GraphView, looseField, resolveScopes } from "./graph-view.ts";
import { suggest } from "./nearest.ts";

const OF_CONTEXT = "history_parts";

export function checkPostures(document: unknown, view: GraphView, report: Report): void {
  const degrade = looseField(document, "degrade");
  const postures = looseField(degrade, "postures");
  if (degrade !== undefined && postures === undefined && looseField(degrade, "text_only") !== true)
    report({
      path: "degrade",
      code: "missing_field",
      message: "nothing is declared that could be stepped down to",
      remedy: "add postures, or text_only: true",
    });
  if (looseField(degrade, "text_only") === true && view.kindsComplete && !view.nodes.some(({ kind }) => kind === "tts"))
    report({
      path: "degrade.text_only",
      code: "not_allowed",
      message: "this pipeline has no voice that could fail",
      remedy: "leave it out",
    });
  if (!Array.isArray(postures)) return;
  for (const [i, posture] of postures.entries()) {
    const nodes = looseField(posture, "nodes");
    if (typeof nodes !== "object" || nodes === null) continue;
    for (const [id, settings] of Object.entries(nodes))
      checkNode(id, settings, `degrade.postures[${i}].nodes.${id}`, view, report);
  }
}

function checkNode(id: string, settings: unknown, path: string, view: GraphView, report: Report): void {
  const node = view.nodes.find((known) => known.id === id);
  if (node === undefined) {
    if (!view.idsComplete) return;
    const ids = view.nodes.map((known) => known.id);
    return report({
      path,
      code: "unknown_node",
      message: `no node has the id "${id}"`,
      remedy: suggest(id, ids, "nodes"),
    });
  }
  if (node.kind === null) return;
  const turn = resolveScopes(view).get(id) === "turn";
  if (node.kind === "context") {
    const other = Object.keys(settings ?? {}).find((name) => name !== OF_CONTEXT);
    if (other === undefined) return;
    const message = `of the context, ${other} cannot be stepped down`;
    return report({ path: `${path}.${other}`, code: "not_allowed", message, remedy: `use ${OF_CONTEXT}` });
  }
  if (turn && NODE_KINDS[node.kind].execution === "provider") return;
  const message = `node "${id}" of kind ${node.kind} has no settings that a posture could change`;
  report({ path, code: "not_allowed", message, remedy: "name an llm, tts or translator node, or the context" });
}
