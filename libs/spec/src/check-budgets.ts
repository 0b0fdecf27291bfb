/** Rules of budgets on scopes: what they bound is there, and what is to follow can follow (F-045, F-046). */
import type { Report } from "./check-graph.ts";
import { type GraphView, looseField, resolveScopes } from "./graph-view.ts";
import { suggest } from "./nearest.ts";

const AMOUNTS = ["tokens", "audio_ms", "characters", "cost_micros"];
/** Which amounts are counted where: an edge carries no tokens, and nothing is paid there. */
const countable: Readonly<Record<string, readonly string[]>> = {
  edge: ["audio_ms", "characters"],
  path: [],
};

interface Place {
  limit: unknown;
  path: string;
  view: GraphView;
  report: Report;
}

export function checkScopedBudgets(document: unknown, view: GraphView, report: Report): void {
  const budgets = looseField(document, "budgets");
  const limits = looseField(budgets, "limits");
  if (!Array.isArray(limits)) return;
  const ids = new Set<unknown>();
  for (const [i, limit] of limits.entries()) {
    const place = { limit, path: `budgets.limits[${i}]`, view, report };
    const id = looseField(limit, "id");
    if (id !== undefined && ids.has(id))
      report({
        path: place.path,
        code: "duplicate_id",
        message: `two budgets have the id "${id}"`,
        remedy: "rename one",
      });
    ids.add(id);
    checkBounds(place, looseField(budgets, "prices"));
    checkTarget(place);
  }
}

function checkBounds({ limit, path, report }: Place, prices: unknown): void {
  const scope = String(looseField(limit, "scope"));
  const soft = Number(looseField(limit, "soft_ms") ?? 0);
  const hard = looseField(limit, "hard_ms");
  const amounts = AMOUNTS.filter((name) => looseField(limit, name) !== undefined);
  if (hard === undefined && amounts.length === 0) {
    const remedy = `give hard_ms, or one of ${AMOUNTS.join(", ")}`;
    report({ path, code: "missing_field", message: "this budget bounds nothing", remedy });
  }
  if (hard !== undefined && soft > Number(hard)) {
    const message = `soft_ms (${soft}) exceeds hard_ms (${String(hard)}): the warning would come after the end`;
    report({ path: `${path}.soft_ms`, code: "out_of_range", message, remedy: "set it to hard_ms or less" });
  }
  const uncounted = amounts.find((name) => countable[scope]?.includes(name) === false);
  if (uncounted !== undefined) {
    const message = `${uncounted} is not counted on a budget of scope ${scope}`;
    const remedy = "use scope node, provider_invocation or turn for it";
    report({ path: `${path}.${uncounted}`, code: "not_allowed", message, remedy });
  }
  if (amounts.includes("cost_micros") && prices === undefined) {
    const message = "nothing has a price: this cost could never be reached";
    report({ path: `${path}.cost_micros`, code: "not_allowed", message, remedy: "add budgets.prices" });
  }
}

function checkTarget(place: Place): void {
  const { limit, path, report } = place;
  const scope = looseField(limit, "scope");
  const target = looseField(limit, "target");
  if (scope === "turn") {
    if (target === undefined) return;
    const message = "a budget of the turn has no target";
    return report({ path: `${path}.target`, code: "not_allowed", message, remedy: "leave it out" });
  }
  if (typeof target !== "string") {
    const form = scope === "path" ? '"from..to"' : scope === "edge" ? "an edge id" : "a node id";
    const message = `a budget of scope ${String(scope)} needs a target`;
    return report({ path, code: "missing_field", message, remedy: `name ${form}` });
  }
  if (scope === "edge") return checkEdge(place, target);
  const names = scope === "path" ? target.split("..") : [target];
  if (names.length !== (scope === "path" ? 2 : 1)) {
    const remedy = 'write "context..output": the node it begins with, two dots, the node it ends at';
    return report({ path: `${path}.target`, code: "bad_format", message: `${target} is no path`, remedy });
  }
  for (const name of names) checkNode(place, name, scope === "provider_invocation");
}

function checkEdge({ view, path, report }: Place, target: string): void {
  if (!view.edgesComplete || view.edges.some(({ id }) => id === target)) return;
  const ids = view.edges.map(({ id }) => id);
  const message = `no edge has the id "${target}"`;
  report({ path: `${path}.target`, code: "unknown_node", message, remedy: suggest(target, ids, "edges") });
}

const PROVIDERS = ["llm", "tts", "translator"];

function checkNode({ limit, view, path, report }: Place, name: string, provider: boolean): void {
  const at = `${path}.target`;
  const node = view.nodes.find(({ id }) => id === name);
  if (node === undefined) {
    if (!view.idsComplete) return;
    const ids = view.nodes.map(({ id }) => id);
    const message = `no node has the id "${name}"`;
    return report({ path: at, code: "unknown_node", message, remedy: suggest(name, ids, "nodes") });
  }
  if (resolveScopes(view).get(name) === "session") {
    const message = `node "${name}" belongs to the session, a budget to a turn`;
    return report({ path: at, code: "scope", message, remedy: "name a node that works in a turn, e.g. the llm" });
  }
  if (provider && node.kind !== null && !PROVIDERS.includes(node.kind)) {
    const message = `node "${name}" of kind ${node.kind} asks no provider`;
    return report({ path: at, code: "not_allowed", message, remedy: "use scope node or event for it" });
  }
  const falls = looseField(limit, "on_exhausted") === "fallback" && !provider;
  if (!falls || looseField(limit, "scope") === "path" || node.fallback !== null) return;
  const message = `node "${name}" has no fallback that could be taken`;
  report({ path: `${path}.on_exhausted`, code: "not_allowed", message, remedy: `give node "${name}" a fallback` });
}
