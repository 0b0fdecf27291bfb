/** What a spec may say and a careful author would not: warnings of lint, errors in strict mode (F-001, F-126). */
import { routeAdvice } from "./advice-routes.ts";
import { reporter } from "./places.ts";
import { ProblemList, type SpecProblem } from "./problem.ts";
import type { PipelineSpec } from "./spec.ts";

export interface Advice {
  path: string;
  message: string;
  remedy: string;
}

/** In order of the file. They are warnings: nothing that keeps the spec from running. */
export function adviceOn(spec: PipelineSpec): SpecProblem[] {
  const problems = new ProblemList(spec.origin.file);
  const report = reporter(problems, spec.origin.positions);
  for (const advice of [
    ...profileAdvice(spec),
    ...nodeAdvice(spec),
    ...recordingAdvice(spec),
    ...variableAdvice(spec),
    ...routeAdvice(spec),
  ]) {
    report({ code: "advice", ...advice });
  }
  return problems.sorted();
}

function profileAdvice({ profile }: PipelineSpec): Advice[] {
  if (profile !== undefined) return [];
  const message = "no profile is named, so its defaults change when the platform's default does";
  return [{ path: "profile", message, remedy: "pin it, e.g. `profile: simple/v1`" }];
}

function nodeAdvice({ nodes }: PipelineSpec): Advice[] {
  return nodes.flatMap((node, i): Advice[] => {
    if (node.provider === undefined) return [];
    const path = `nodes[${i}].provider.candidates`;
    const names = node.provider.candidates.map((candidate) =>
      typeof candidate === "string" ? candidate : candidate.name,
    );
    if (names.every((name) => name.startsWith("sim/"))) {
      const message = `node ${node.id} has simulated providers alone: no caller is served by them`;
      return [{ path, message, remedy: "put a real provider first" }];
    }
    if (names[0]?.startsWith("sim/")) {
      const message = `node ${node.id} tries the simulation before ${names.find((name) => !name.startsWith("sim/"))}`;
      return [{ path, message, remedy: "move the simulated provider to the end" }];
    }
    return [];
  });
}

function recordingAdvice({ recording }: PipelineSpec): Advice[] {
  if (recording?.level !== "L2") return [];
  const message = "every session keeps what was said (L2), which needs a permission in production";
  return [{ path: "recording.level", message, remedy: "use L0 or L1 here and raise single sessions" }];
}

/** A variable that nothing reads is a misspelt one, or one too many. */
function variableAdvice({ variables, ...spec }: PipelineSpec): Advice[] {
  const { conversation, policy, nodes, edges, vocabulary, errors, degrade } = spec;
  const text = JSON.stringify({ conversation, policy, nodes, edges, vocabulary, errors, degrade });
  return Object.keys(variables ?? {}).flatMap((name): Advice[] => {
    if (new RegExp(`\\{\\{\\s*${name}\\s*\\}\\}|\\bvars\\.${name}\\b|\\bvariable\\.${name}\\b`).test(text)) return [];
    const message = `no text, setting or condition uses the variable "${name}"`;
    return [{ path: `variables.${name}`, message, remedy: `write {{${name}}} where it is to stand, or remove it` }];
  });
}
