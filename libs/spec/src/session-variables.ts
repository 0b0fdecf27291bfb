/** Session variables as a session starts with them: checked against their declarations, and put into texts and settings. */
import { err, ok, type Result } from "@rspp/base/result";
import type { CompiledPipeline } from "./compiled.ts";
import { suggest } from "./nearest.ts";
import { fillPlaceholders } from "./placeholders.ts";
import { wrongValue } from "./variables.ts";

export type VariableValues = Readonly<Record<string, string | number | boolean>>;

export interface TakenVariables {
  values: VariableValues;
  /** Given and not declared: taken along in relaxed mode, to be warned of. */
  undeclared: readonly string[];
  /** Provenance by `variables.<name>`; empty where the pipeline declares none. */
  provenance: Readonly<Record<string, string>>;
}

/**
 * What the session gives, and the defaults of what it leaves out. `err` names every variable that is missing, unknown (strict
 * only) or of another type, with what to do; values are never repeated.
 */
export function takeVariables(
  pipeline: Pick<CompiledPipeline, "name" | "variables" | "provenance">,
  given: VariableValues,
  mode: "strict" | "relaxed",
): Result<TakenVariables, string> {
  const declared = pipeline.variables ?? {};
  const faults: string[] = [];
  const values: Record<string, string | number | boolean> = {};
  const provenance: Record<string, string> = {};
  const undeclared = Object.keys(given).filter((name) => !Object.hasOwn(declared, name));
  for (const name of undeclared) {
    const value = given[name];
    if (value !== undefined) values[name] = value;
    if (mode === "strict") {
      const legal = Object.keys(declared);
      faults.push(
        `variables.${name} is not declared by pipeline ${pipeline.name}: ${suggest(name, legal, "variables")}`,
      );
    }
  }
  for (const [name, declaration] of Object.entries(declared)) {
    const value = given[name] ?? declaration.default;
    if (value === undefined) {
      if (declaration.required === true) {
        const about = declaration.description === undefined ? "" : ` (${declaration.description.slice(0, 120)})`;
        faults.push(`variables.${name}${about} is missing: give it when the session starts, e.g. --var ${name}=…`);
      }
      continue;
    }
    const wrong = wrongValue(declaration, value);
    if (wrong !== null) faults.push(`variables.${name} ${wrong.message}: ${wrong.remedy}`);
    values[name] = value;
    const byDefault = pipeline.provenance[`variables.${name}.default`] ?? "spec";
    provenance[`variables.${name}`] = given[name] === undefined ? byDefault : "session";
  }
  return faults.length === 0 ? ok({ values, undeclared, provenance }) : err(faults.join("; "));
}

/** The pipeline with each `{{name}}` filled in: what is said, the policy's texts, settings of nodes and of postures. */
export function fillVariables(pipeline: CompiledPipeline, { values, provenance }: TakenVariables): CompiledPipeline {
  const text = (value: string): string => fillPlaceholders(value, values);
  const { greeting, systemPrompt, spoken, graph } = pipeline;
  const nodes = filledDeep(graph.nodes, text);
  return {
    ...pipeline,
    ...(greeting === undefined ? {} : { greeting: text(greeting) }),
    ...(systemPrompt === undefined ? {} : { systemPrompt: text(systemPrompt) }),
    ...(spoken === undefined ? {} : { spoken: filledDeep(spoken, text) }),
    policy: filledDeep(pipeline.policy, text),
    graph: {
      ...graph,
      nodes,
      ...(graph.errors === undefined ? {} : { errors: filledDeep(graph.errors, text) }),
      ...(graph.degrade === undefined ? {} : { degrade: filledDeep(graph.degrade, text) }),
    },
    provenance: Object.keys(provenance).length === 0 ? pipeline.provenance : { ...pipeline.provenance, ...provenance },
  };
}

/** Texts within plain data; the same object where none changes. */
function filledDeep<T>(value: T, text: (value: string) => string): T {
  if (typeof value === "string") return (value.includes("{{") ? text(value) : value) as T;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => filledDeep(item, text));
    return (items.every((item, i) => item === value[i]) ? value : items) as T;
  }
  const entries = Object.entries(value).map(([key, item]) => [key, filledDeep(item as unknown, text)] as const);
  return entries.every(([key, item]) => item === (value as Record<string, unknown>)[key])
    ? value
    : (Object.fromEntries(entries) as T);
}
