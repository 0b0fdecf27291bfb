/** Custom nodes in a spec (F-011; `kernel.md` §8): their package, its settings, and where they may stand. */
import type { Report } from "./check-graph.ts";
import { type GraphNode, type GraphView, looseField, portsOf, resolveScopes } from "./graph-view.ts";
import { suggest } from "./nearest.ts";
import type { CataloguedPackage, CataloguedSetting, NodeCatalogue } from "./node-catalogue.ts";

/** What flows outside of turns and is not the recogniser's own. */
const SESSION_TYPES: readonly string[] = ["audio", "activity"];

export function checkCustomNodes(
  document: unknown,
  view: GraphView,
  nodeCatalogue: NodeCatalogue | undefined,
  report: Report,
): void {
  const nodes = looseField(document, "nodes");
  if (!Array.isArray(nodes)) return;
  for (const [i, node] of nodes.entries()) {
    if (looseField(node, "kind") !== "custom") continue;
    const seen = view.nodes.find(({ path }) => path === `nodes[${i}]`);
    if (nodeCatalogue === undefined || seen === undefined) continue;
    if (seen.package === undefined) reportUnknown(node, seen, report);
    else checkPackage(node, seen, seen.package, report);
  }
  checkPlaces(view, report);
}

function reportUnknown(node: unknown, { id, path }: GraphNode, report: Report): void {
  const name = looseField(node, "package");
  if (typeof name !== "string") return;
  report({
    path: `${path}.package`,
    code: "unknown_package",
    message: `node "${id}" needs package ${name}, which is not here`,
    remedy: "list the folder of the package in node_packages (--nodes FOLDER), or name a version that is there",
  });
}

function checkPackage(node: unknown, { id, path, scope }: GraphNode, of: CataloguedPackage, report: Report): void {
  if (scope !== null && of.scope !== "either" && scope !== of.scope) {
    report({
      path: `${path}.scope`,
      code: "scope",
      message: `node "${id}" is set to scope ${scope}, its package says ${of.scope}`,
      remedy: "remove the scope: the package decides it",
    });
  }
  if (of.settings === undefined) return;
  const given = looseField(node, "settings");
  const names = of.settings.map(({ name }) => name);
  for (const key of Object.keys(typeof given === "object" && given !== null ? given : {})) {
    if (names.includes(key)) continue;
    const remedy = names.length === 0 ? "remove it: the package has no settings" : suggest(key, names, "settings");
    const message = `node "${id}": its package has no setting "${key}"`;
    report({ path: `${path}.settings.${key}`, code: "unknown_field", message, remedy });
  }
  for (const setting of of.settings) {
    const value = looseField(given, setting.name);
    const problem = value === undefined ? missing(setting) : wrong(setting, value);
    if (problem === "") continue;
    const place = value === undefined ? path : `${path}.settings.${setting.name}`;
    const message = `node "${id}": setting "${setting.name}" ${problem}`;
    report({
      path: place,
      code: value === undefined ? "missing_field" : "out_of_range",
      message,
      remedy: `give ${inWords(setting)}`,
    });
  }
}

function missing({ required, default: fallback }: CataloguedSetting): string {
  return required === true && fallback === undefined ? "is missing" : "";
}

function wrong({ type, min, max, oneOf }: CataloguedSetting, value: unknown): string {
  const fits =
    type === "texts"
      ? Array.isArray(value)
      : type === "flag"
        ? typeof value === "boolean"
        : type === "number"
          ? typeof value === "number"
          : typeof value === "string";
  if (!fits) return `is no ${type}`;
  if (oneOf !== undefined && typeof value === "string" && !oneOf.includes(value)) return "has none of its values";
  const size = typeof value === "number" ? value : typeof value === "string" ? value.length : (min ?? 0);
  return (min !== undefined && size < min) || (max !== undefined && size > max) ? "is out of range" : "";
}

function inWords({ type, min, max, oneOf }: CataloguedSetting): string {
  if (oneOf !== undefined) return `one of ${oneOf.join(", ")}`;
  const what = { text: "a text", number: "a number", flag: "true or false", texts: "a list of texts" }[type];
  if (min === undefined && max === undefined) return what;
  return `${what} from ${min ?? "any"} to ${max ?? "any"}${type === "text" ? " characters" : ""}`;
}

/**
 * A session-scoped node cannot reach turn state, and a turn's data begins with the caller's words: what a custom node of the
 * session may take and give is live audio and voice activity (F-155).
 */
function checkPlaces(view: GraphView, report: Report): void {
  const scopes = resolveScopes(view);
  const byId = new Map(view.nodes.map((node) => [node.id, node]));
  for (const edge of view.edges) {
    const from = byId.get(edge.from.node);
    const to = byId.get(edge.to.node);
    if (from === undefined || to === undefined || (from.kind !== "custom" && to.kind !== "custom")) continue;
    const type = portsOf(from, "outputs")?.find(({ name }) => name === edge.from.port)?.type;
    if (type === undefined) continue;
    const [before, after] = [scopes.get(from.id), scopes.get(to.id)];
    if (before === "session" && after === "turn" && type !== "utterance") {
      report({
        path: edge.path,
        code: "scope",
        message: `"${from.id}" belongs to the session and "${to.id}" to a turn: ${type} does not cross`,
        remedy: "a turn begins with an utterance: feed the node from endpointing.utterance, or from a node of the turn",
      });
    } else if (before === "session" && after === "session" && !SESSION_TYPES.includes(type)) {
      report({
        path: edge.path,
        code: "scope",
        message: `a custom node of the session neither takes nor gives ${type}`,
        remedy: `give it "scope: turn" and feed it from endpointing.utterance`,
      });
    }
  }
}
