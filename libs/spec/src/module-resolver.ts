/** Finds, reads and checks the modules of a document, and theirs: parameters, ports, cycles, depth (F-019). */
import { isMap } from "yaml";
import { type GraphNode, looseField, type PortName, parsePort, portsOf, viewGraph } from "./graph-view.ts";
import { MODULE_DEPTH_MAX } from "./limits.ts";
import type { HeldModule, HeldModules } from "./module-library.ts";
import { moduleSchema } from "./module-schema.ts";
import { suggest } from "./nearest.ts";
import type { Parameters, ParameterValue } from "./parameters.ts";
import { type Places, placeOf, reporter } from "./places.ts";
import type { Place, ProblemCode, ProblemList } from "./problem.ts";
import { START } from "./read-yaml.ts";
import type { EdgeDocument, ModuleUseDocument, NodeDocument, VariableDocument } from "./spec.ts";
import { parametersSchema } from "./variable-schema.ts";
import { checkDeclarations, wrongValue } from "./variables.ts";
import { walkNode } from "./walk.ts";
import type { Walk } from "./walk-state.ts";

/** Between the id of a use and the id of a node. */
export const MODULE_MARK = "__";

/** A document whose modules have been found. */
export interface ModuleLevel {
  /** `name@version`; "" for the spec itself. */
  use: string;
  /** Put before the ids of its nodes; "" for the spec itself. */
  prefix: string;
  document: { nodes: readonly NodeDocument[]; edges: readonly (string | EdgeDocument)[] };
  positions: Places;
  children: ReadonlyMap<string, ModuleLevel>;
  /** Ports by name; the nodes behind them under the ids they have in the whole. */
  inputs: ReadonlyMap<string, readonly PortName[]>;
  outputs: ReadonlyMap<string, readonly PortName[]>;
}

interface ModuleDocument {
  parameters?: Readonly<Record<string, VariableDocument>>;
  inputs?: Readonly<Record<string, readonly string[]>>;
  outputs?: Readonly<Record<string, string>>;
  modules?: readonly ModuleUseDocument[];
  nodes?: readonly NodeDocument[];
  edges?: readonly (string | EdgeDocument)[];
}

interface Trail {
  prefix: string;
  /** Modules on the way here, outermost first. */
  chain: readonly string[];
}

const none: ReadonlyMap<string, readonly PortName[]> = new Map();

export class ModuleResolver {
  readonly #modules: HeldModules;
  readonly #problems: ProblemList;

  constructor(modules: HeldModules, problems: ProblemList) {
    this.#modules = modules;
    this.#problems = problems;
  }

  top(document: Required<Pick<ModuleDocument, "modules" | "nodes" | "edges">>, positions: Places): ModuleLevel {
    const children = this.#children(document, positions, { prefix: "", chain: [] });
    return { use: "", prefix: "", document, positions, children, inputs: none, outputs: none };
  }

  /** A module by itself, as `rspp lint` looks at it: what a parameter without default stands for is not checked. */
  alone(held: HeldModule): ModuleLevel {
    const parameters = parametersOf(this.#declared(held), {});
    return this.#level(held, parameters, { prefix: "", chain: [held.use] });
  }

  #children(document: ModuleDocument, positions: Places, trail: Trail): Map<string, ModuleLevel> {
    const children = new Map<string, ModuleLevel>();
    for (const [i, use] of (document.modules ?? []).entries()) {
      // A wrong use is undefined in the list and has been reported.
      if (typeof use?.id !== "string" || typeof use.use !== "string") continue;
      const path = `modules[${i}]`;
      const add = (at: string, code: ProblemCode, message: string, remedy: string): void =>
        this.#problems.add(placeOf(positions, at), { path: at, code, message, remedy });
      if (children.has(use.id) || document.nodes?.some((node) => node?.id === use.id) === true) {
        const message = `id "${use.id}" is already used in this document`;
        add(`${path}.id`, "duplicate_id", message, "give each node and each use of a module an id of its own");
        continue;
      }
      const child = this.#child(use, path, positions, trail, add);
      if (child !== null) children.set(use.id, child);
    }
    return children;
  }

  #child(
    use: ModuleUseDocument,
    path: string,
    positions: Places,
    { prefix, chain }: Trail,
    add: (at: string, code: ProblemCode, message: string, remedy: string) => void,
  ): ModuleLevel | null {
    const at = `${path}.use`;
    if (chain.includes(use.use)) {
      const way = [...chain.slice(chain.indexOf(use.use)), use.use].join(" -> ");
      add(at, "module_cycle", `module ${use.use} uses itself: ${way}`, "remove one of these uses");
      return null;
    }
    if (chain.length >= MODULE_DEPTH_MAX) {
      const message = `modules are nested deeper than ${MODULE_DEPTH_MAX}: ${[...chain, use.use].join(" -> ")}`;
      add(at, "module_depth", message, "use the inner module in the spec itself, or merge the two");
      return null;
    }
    const held = this.#modules.find(use.use, placeOf(positions, at), at);
    if (held === null) return null;
    const declared = this.#declared(held);
    const values = checkedParameters(use, declared, path, positions, add);
    return this.#level(held, values, { prefix: `${prefix}${use.id}${MODULE_MARK}`, chain: [...chain, use.use] });
  }

  #walk(held: HeldModule, parameters?: Parameters): Walk {
    const { lines, origin } = held;
    const more = parameters === undefined ? {} : { parameters };
    return { lines, origin, problems: this.#problems, positions: new Map(), ...more };
  }

  #declared({ root, ...held }: HeldModule): Readonly<Record<string, VariableDocument>> {
    if (!isMap(root) || !root.has("parameters")) return {};
    const walk = this.#walk({ root, ...held });
    const node: unknown = root.get("parameters", true);
    return (walkNode(walk, node, parametersSchema, "parameters", START) ?? {}) as Record<string, VariableDocument>;
  }

  #level(held: HeldModule, parameters: Parameters, trail: Trail): ModuleLevel {
    const walk = this.#walk(held, parameters);
    const at: Place = { ...START, origin: held.origin };
    const read = (walkNode(walk, held.root, moduleSchema, "", at) ?? {}) as ModuleDocument;
    const { positions } = walk;
    checkDeclarations(read.parameters, "parameters", reporter(this.#problems, positions));
    // Wrong entries are undefined; they keep the index of the others, and nothing is expanded where there is one.
    const document = { nodes: (read.nodes ?? []).filter(isThere), edges: (read.edges ?? []).filter(isThere) };
    const children = this.#children(read, positions, trail);
    const ports = (side: "inputs" | "outputs") =>
      this.#exported(read, side, { document, positions, children, prefix: trail.prefix });
    const { prefix } = trail;
    return { use: held.use, prefix, document, positions, children, inputs: ports("inputs"), outputs: ports("outputs") };
  }

  #exported(
    read: ModuleDocument,
    side: "inputs" | "outputs",
    level: Pick<ModuleLevel, "document" | "positions" | "children" | "prefix">,
  ): Map<string, readonly PortName[]> {
    const nodes = viewGraph(level.document).nodes;
    const exported = new Map<string, readonly PortName[]>();
    for (const [name, given] of Object.entries(read[side] ?? {})) {
      const path = `${side}.${name}`;
      const texts: readonly string[] = typeof given === "string" ? [given] : given;
      const found = texts.flatMap((text) => (isThere(text) ? this.#inner(text, side, path, level, nodes) : []));
      exported.set(name, found);
    }
    return exported;
  }

  #inner(
    text: string,
    side: "inputs" | "outputs",
    path: string,
    { positions, children, prefix }: Pick<ModuleLevel, "positions" | "children" | "prefix">,
    nodes: readonly GraphNode[],
  ): readonly PortName[] {
    const name = parsePort(text);
    if (name === undefined) return [];
    const word = side === "inputs" ? "input" : "output";
    const add = (code: ProblemCode, message: string, remedy: string): void =>
      this.#problems.add(placeOf(positions, path), { path, code, message, remedy });
    const child = children.get(name.node);
    const node = nodes.find(({ id }) => id === name.node);
    if (child === undefined && node === undefined) {
      const known = [...nodes.map(({ id }) => id), ...children.keys()];
      add("unknown_node", `no node of this module has the id "${name.node}"`, suggest(name.node, known, "nodes"));
      return [];
    }
    const ports = child === undefined ? node && portsOf(node, side)?.map((port) => port.name) : [...child[side].keys()];
    if (ports !== undefined && !ports.includes(name.port)) {
      add(
        "unknown_port",
        `"${name.node}" has no ${word} port "${name.port}"`,
        suggest(name.port, ports, `${word} ports`),
      );
      return [];
    }
    return child?.[side].get(name.port) ?? [{ node: prefix + name.node, port: name.port }];
  }
}

function isThere<T>(value: T | undefined): value is T {
  return value !== undefined;
}

/** Each parameter with its value: of the use, else its default, else unset. */
function parametersOf(
  declared: Readonly<Record<string, VariableDocument>>,
  given: Readonly<Record<string, ParameterValue>>,
): Map<string, ParameterValue | "unset"> {
  return new Map(
    Object.entries(declared).map(([name, { default: fallback }]) => [
      name,
      given[name] ?? (fallback === undefined ? "unset" : { value: fallback, place: null }),
    ]),
  );
}

function checkedParameters(
  use: ModuleUseDocument,
  declared: Readonly<Record<string, VariableDocument>>,
  path: string,
  positions: Places,
  add: (at: string, code: ProblemCode, message: string, remedy: string) => void,
): Map<string, ParameterValue | "unset"> {
  const given: Record<string, ParameterValue> = {};
  for (const [name, value] of Object.entries(use.with ?? {})) {
    const at = `${path}.with.${name}`;
    const declaration = Object.hasOwn(declared, name) ? declared[name] : undefined;
    if (declaration === undefined) {
      const message = `module ${use.use} has no parameter "${name}"`;
      add(at, "unknown_parameter", message, suggest(name, Object.keys(declared), "parameters"));
      continue;
    }
    const wrong = wrongValue(declaration, value);
    const place = placeOf(positions, at);
    if (wrong === null) given[name] = { value, place: { ...place, path: place.path ?? at } };
    else add(at, "not_allowed", `parameter "${name}" of ${use.use} ${wrong.message}`, wrong.remedy);
  }
  for (const [name, declaration] of Object.entries(declared)) {
    if (declaration.default !== undefined || looseField(use.with, name) !== undefined) continue;
    const message = `module ${use.use} needs the parameter "${name}"`;
    add(path, "missing_field", message, `add "with: {${name}: …}"`);
  }
  return parametersOf(declared, given);
}
