/**
 * What callers and operators of a pipeline rely on, compared between two versions (F-028, NF-010): session variables, what
 * goes in and comes out, ports of nodes that kept their name, audio formats, tools. Within one MAJOR none of it may break.
 */
import { looseField, portsOf, viewGraph } from "./graph-view.ts";
import { reporter } from "./places.ts";
import { ProblemList, type SpecProblem } from "./problem.ts";
import type { NodeDocument, PipelineSpec, VariableDocument, VariablesDocument } from "./spec.ts";

/** The part of a spec, or of a published version's content, that is compared; modules are expanded. */
export interface Contract {
  version: string;
  variables?: VariablesDocument;
  nodes: readonly NodeDocument[];
}

export interface BreakingChange {
  /** Field path in the new spec, or of what is gone in the old one. */
  path: string;
  message: string;
}

/**
 * The MAJOR of a version: of `2`, `2.1` and `2.1.3` it is 2. A version that is not so written is a MAJOR of its own, so that
 * anything else can follow it.
 */
export function majorOf(version: string): string {
  return /^(\d+)(\.\d+){0,2}$/.exec(version)?.[1]?.replace(/^0+(?=\d)/, "") ?? version;
}

/** In order of the fields; empty where the new one can stand in for the old one. */
export function breakingChanges(old: Contract, now: Contract): BreakingChange[] {
  return [
    ...variableChanges(old.variables ?? {}, now.variables ?? {}),
    ...nodeChanges(old, now),
    ...toolChanges(old, now),
  ];
}

/** The changes as problems of the new spec; none where its MAJOR is another. @param from what it is compared with, in words. */
export function breakingProblems(old: Contract, now: PipelineSpec, from: string): SpecProblem[] {
  if (majorOf(old.version) !== majorOf(now.version)) return [];
  const problems = new ProblemList(now.origin.file);
  const report = reporter(problems, now.origin.positions);
  for (const { path, message } of breakingChanges(old, now)) {
    const remedy = breakingRemedy(now.version);
    report({ path, code: "breaking_change", message: `breaks ${from}: ${message}`, remedy });
  }
  return problems.sorted();
}

/** What to do about it, for a spec whose MAJOR is that of the old one. */
function breakingRemedy(version: string): string {
  const major = majorOf(version);
  const next = /^\d+$/.test(major) ? String(Number(major) + 1) : "another version, e.g. 2";
  return `keep it as it was, or set version: ${next}`;
}

function variableChanges(old: VariablesDocument, now: VariablesDocument): BreakingChange[] {
  const changes: BreakingChange[] = [];
  const add = (name: string, field: string, words: string): void => {
    changes.push({ path: `variables.${name}${field}`, message: `variable "${name}" ${words}` });
  };
  for (const [name, before] of Object.entries(old)) {
    const after = Object.hasOwn(now, name) ? now[name] : undefined;
    if (after === undefined) add(name, "", "is removed");
    else if (after.type !== before.type && !(before.type === "enum" && after.type === "string"))
      add(name, ".type", `was a ${before.type} and is a ${after.type} now`);
    else narrowings(before, after, (field, words) => add(name, field, words));
  }
  for (const [name, { required }] of Object.entries(now)) {
    if (required !== true) continue;
    const before = Object.hasOwn(old, name) ? old[name] : undefined;
    if (before === undefined) add(name, "", "is new and must be given");
    else if (before.required !== true) add(name, ".required", "must be given now");
  }
  return changes;
}

function narrowings(
  before: VariableDocument,
  after: VariableDocument,
  add: (field: string, words: string) => void,
): void {
  const gone =
    after.values === undefined ? [] : (before.values ?? []).filter((value) => !after.values?.includes(value));
  if (gone.length > 0) add(".values", `no longer takes ${gone.join(", ")}`);
  for (const low of ["min", "min_chars"] as const) {
    const [was, is] = [before[low] ?? -Infinity, after[low] ?? -Infinity];
    if (is > was && !(low === "min_chars" && is <= 0)) add(`.${low}`, `takes no less than ${is} now`);
  }
  for (const high of ["max", "max_chars"] as const) {
    const [was, is] = [before[high] ?? Infinity, after[high] ?? Infinity];
    if (is < was) add(`.${high}`, `takes no more than ${is} now`);
  }
  if (after.pattern !== undefined && after.pattern !== before.pattern) add(".pattern", "has another pattern");
  if (after.whole === true && before.whole !== true) add(".whole", "takes whole numbers only now");
}

/** Kinds at the edge of a pipeline: what is gone there, somebody outside misses. */
const edgeKinds: Readonly<Record<string, string>> = {
  ingress: "the caller's audio",
  dtmf: "keyed-in digits",
  output: "what the caller hears",
};

function nodeChanges(old: Contract, now: Contract): BreakingChange[] {
  const after = viewGraph(now).nodes;
  return viewGraph(old).nodes.flatMap((node): BreakingChange[] => {
    const { id, kind } = node;
    const twin = after.find((one) => one.id === id);
    const index = after.findIndex((one) => one.id === id);
    if (twin === undefined) {
      const what = edgeKinds[String(kind)];
      // A node of the same kind under another name serves as well, but for outputs, which are told apart by their names.
      if (what === undefined || (kind !== "output" && after.some((one) => one.kind === kind))) return [];
      return [{ path: "nodes", message: `node "${id}" of kind ${kind} is removed: ${what}` }];
    }
    const ports = (["inputs", "outputs"] as const).flatMap((side) =>
      (portsOf(node, side) ?? []).flatMap((port): BreakingChange[] => {
        const same = portsOf(twin, side)?.find(({ name }) => name === port.name);
        const name = `${side === "inputs" ? "input" : "output"} ${id}.${port.name}`;
        const path = `nodes[${index}].kind`;
        if (same === undefined) return [{ path, message: `${name} (${port.type}) is removed` }];
        if (same.type === port.type) return [];
        return [{ path, message: `${name} carried ${port.type} and carries ${same.type} now` }];
      }),
    );
    return [...ports, ...formatChanges(old, now, id, index)];
  });
}

const formatKeys = /^(codec|format|encoding|channels|rate_hz|sample_rate|sample_rate_hz)$/;
const formatKinds = ["ingress", "tts", "output"];

function formatChanges(old: Contract, now: Contract, id: string, index: number): BreakingChange[] {
  const [before, after] = [old, now].map(({ nodes }) => nodes.find((node) => node.id === id));
  if (before === undefined || after === undefined || !formatKinds.includes(before.kind)) return [];
  return ["settings", "provider.settings"].flatMap((place) => {
    const settings = (node: NodeDocument): unknown =>
      place === "settings" ? node.settings : looseField(node.provider, "settings");
    const given = settings(before);
    return Object.keys(typeof given === "object" && given !== null ? given : {}).flatMap((key): BreakingChange[] => {
      const [was, is] = [looseField(given, key), looseField(settings(after), key)];
      if (!formatKeys.test(key) || was === is) return [];
      const message = `the audio format of "${id}" changes: ${key} was ${String(was)}, is ${String(is ?? "left out")}`;
      return [{ path: `nodes[${index}].${place}.${key}`, message }];
    });
  });
}

function toolChanges(old: Contract, now: Contract): BreakingChange[] {
  const names = ({ nodes }: Contract): string[] => nodes.flatMap(({ tools }) => (tools ?? []).map(({ name }) => name));
  const after = new Set(names(now));
  const gone = [...new Set(names(old))].filter((name) => !after.has(name));
  return gone.map((name) => ({ path: "nodes", message: `tool "${name}" is removed` }));
}
