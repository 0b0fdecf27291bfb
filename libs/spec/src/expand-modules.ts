/** Puts the nodes and edges of used modules in their place (F-019): `answer` becomes nodes `answer__tts`, and so on. */

import { type PortName, parseEdge } from "./graph-view.ts";
import * as limits from "./limits.ts";
import type { HeldModules } from "./module-library.ts";
import { MODULE_MARK, type ModuleLevel, ModuleResolver } from "./module-resolver.ts";
import { suggest } from "./nearest.ts";
import { type Places, placeOf } from "./places.ts";
import type { Place, ProblemList } from "./problem.ts";
import type { EdgeDocument, ModuleInstance, ModuleUseDocument, NodeDocument } from "./spec.ts";

export interface Expanded {
  nodes: NodeDocument[];
  edges: (string | EdgeDocument)[];
  /** Of the expanded document. */
  positions: Map<string, Place>;
  instances: ModuleInstance[];
}

interface Written {
  modules: readonly ModuleUseDocument[];
  nodes: readonly NodeDocument[];
  edges: readonly (string | EdgeDocument)[];
}

/**
 * The author's own nodes and edges keep their index; those of modules follow. null where something is wrong, which has been
 * reported.
 */
export function expandModules(
  document: Written,
  positions: Places,
  modules: HeldModules,
  problems: ProblemList,
): Expanded | null {
  const before = problems.count;
  const top = new ModuleResolver(modules, problems).top(document, positions);
  return problems.count > before ? null : expandLevel(top, problems);
}

/** A level whose modules have been found; null, and reported, where its edges do not fit them. */
export function expandLevel(level: ModuleLevel, problems: ProblemList): Expanded | null {
  const before = problems.count;
  const out: Expanded = { nodes: [], edges: [], positions: new Map(level.positions), instances: [] };
  emit(level, out, problems);
  checkSize(out, level.positions, problems);
  return problems.count > before ? null : out;
}

function checkSize({ nodes, edges }: Expanded, positions: Places, problems: ProblemList): void {
  const counts = [
    { what: "nodes", found: nodes.length, max: limits.NODES_MAX },
    { what: "edges", found: edges.length, max: limits.EDGES_MAX },
  ];
  for (const { what, found, max } of counts) {
    if (found <= max) continue;
    const message = `${found} ${what} with those of its modules, allowed are ${max}`;
    const remedy = "use fewer modules, or smaller ones";
    problems.add(placeOf(positions, "modules"), { path: "modules", code: "too_many", message, remedy });
  }
}

function emit(level: ModuleLevel, out: Expanded, problems: ProblemList): string[] {
  const { document, positions, prefix } = level;
  const nodesFrom = out.nodes.length;
  const edgesFrom = out.edges.length;
  const local = new Set(document.nodes.map(({ id }) => id));
  const ids = document.nodes.map((node, i) => {
    const renamed = prefix === "" ? node : renamedNode(node, prefix, local);
    if (renamed.id.length > limits.ID_CHARS_MAX) reportLong(renamed.id, placeOf(positions, `nodes[${i}]`), problems);
    out.nodes.push(renamed);
    return renamed.id;
  });
  if (prefix !== "") movePositions(positions, { nodes: nodesFrom, edges: edgesFrom }, out.positions);
  emitEdges(level, out, problems);
  for (const child of level.children.values()) {
    const slot = out.instances.length;
    const instance = { id: child.prefix.slice(0, -MODULE_MARK.length), use: child.use, nodes: [] as string[] };
    out.instances.splice(slot, 0, instance);
    instance.nodes.push(...emit(child, out, problems));
    ids.push(...instance.nodes);
  }
  return ids;
}

function reportLong(id: string, place: Place, problems: ProblemList): void {
  const message = `node id "${id.slice(0, 80)}" has ${id.length} characters once the module is expanded`;
  const remedy = `give the use of the module a shorter id; ${limits.ID_CHARS_MAX} are allowed`;
  problems.add(place, { path: place.path ?? "modules", code: "out_of_range", message, remedy });
}

/** The own edges at their index, then the further ends of inputs that lead to several nodes. */
function emitEdges(level: ModuleLevel, out: Expanded, problems: ProblemList): void {
  const from = out.edges.length;
  const further: { edge: string | EdgeDocument; of: number }[] = [];
  for (const [i, edge] of level.document.edges.entries()) {
    const [first = edge, ...others] = rewrittenEdge(level, edge, `edges[${i}]`, problems);
    out.edges.push(first);
    further.push(...others.map((other) => ({ edge: other, of: from + i })));
  }
  for (const { edge, of } of further) {
    const place = out.positions.get(`edges[${of}]`);
    if (place !== undefined) {
      const path = place.path ?? `edges[${of}]`;
      out.positions.set(`edges[${out.edges.length}]`, { ...place, path });
    }
    out.edges.push(edge);
  }
}

/** One edge for each inner end; the edge as it stands where no module is concerned. */
function rewrittenEdge(
  level: ModuleLevel,
  edge: string | EdgeDocument,
  path: string,
  problems: ProblemList,
): (string | EdgeDocument)[] {
  const ends = parseEdge(edge);
  if (ends === undefined) return [edge];
  const side = (which: "from" | "to") => (ends.short ? path : `${path}.${which}`);
  const [from] = innerPorts(level, ends.from, "outputs", side("from"), problems);
  const targets = innerPorts(level, ends.to, "inputs", side("to"), problems);
  if (from === undefined) return [];
  if (level.prefix === "" && sameEnds(ends, from, targets)) return [edge];
  return targets.map((to, i) => {
    const joined = { from: `${from.node}.${from.port}`, to: `${to.node}.${to.port}` };
    if (typeof edge === "string") return `${joined.from} -> ${joined.to}`;
    const id = edge.id === undefined ? {} : { id: `${level.prefix}${edge.id}${i === 0 ? "" : `_${i + 1}`}` };
    return { ...edge, ...id, ...joined };
  });
}

function sameEnds(ends: { from: PortName; to: PortName }, from: PortName, targets: readonly PortName[]): boolean {
  const [to] = targets;
  return ends.from.node === from.node && targets.length === 1 && to?.node === ends.to.node;
}

function innerPorts(
  level: ModuleLevel,
  name: PortName,
  side: "inputs" | "outputs",
  path: string,
  problems: ProblemList,
): readonly PortName[] {
  const child = level.children.get(name.node);
  const place = placeOf(level.positions, path);
  if (child === undefined) {
    const inside = [...level.children.keys()].find((id) => name.node.startsWith(id + MODULE_MARK));
    if (inside !== undefined && !level.document.nodes.some(({ id }) => id === name.node)) {
      const message = `node "${name.node}" is inside module "${inside}"`;
      const remedy = `connect a port of the module: ${portList(level, inside, side)}`;
      problems.add(place, { path, code: "unknown_node", message, remedy });
    }
    return [{ node: level.prefix + name.node, port: name.port }];
  }
  const found = child[side].get(name.port);
  if (found !== undefined) return found;
  const word = side === "inputs" ? "input" : "output";
  const names = [...child[side].keys()];
  problems.add(place, {
    path,
    code: "unknown_port",
    message: `module "${name.node}" (${child.use}) has no ${word} port "${name.port}"`,
    remedy: names.length === 0 ? `${child.use} has no ${word} ports` : suggest(name.port, names, `${word} ports`),
  });
  return [];
}

function portList(level: ModuleLevel, id: string, side: "inputs" | "outputs"): string {
  const names = [...(level.children.get(id)?.[side].keys() ?? [])].map((port) => `${id}.${port}`);
  return names.length === 0 ? `it has no ${side}` : names.join(", ");
}

/** A node under its prefix, with what it says of other nodes of its module. */
function renamedNode(node: NodeDocument, prefix: string, local: ReadonlySet<string>): NodeDocument {
  const name = (id: string): string => (local.has(id) ? prefix + id : id);
  const { settings } = node;
  const { priority, choose } = settings ?? {};
  const named = {
    ...(Array.isArray(priority) ? { priority: priority.map(name) } : {}),
    ...(Array.isArray(choose)
      ? {
          choose: choose.map((line: string) => line.replace(/^\s*([a-z][a-z0-9_-]*)(?=\s*:)/, (id) => name(id.trim()))),
        }
      : {}),
  };
  return {
    ...node,
    id: prefix + node.id,
    ...(node.fallback === undefined ? {} : { fallback: name(node.fallback) }),
    ...(settings === undefined ? {} : { settings: { ...settings, ...named } }),
  };
}

/** Places of a module's nodes and edges under the index they have in the whole; the path stays that of the module's text. */
function movePositions(from: Places, start: { nodes: number; edges: number }, to: Map<string, Place>): void {
  for (const [path, place] of from) {
    const [, list, index, rest] = /^(nodes|edges)\[(\d+)\](.*)$/.exec(path) ?? [];
    if (list !== "nodes" && list !== "edges") continue;
    to.set(`${list}[${start[list] + Number(index)}]${rest}`, { ...place, path: place.path ?? path });
  }
}
