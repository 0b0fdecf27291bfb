/** What a test script names of its pipeline: nodes, tools and signals that are there. */
import { CONTROL_SIGNALS } from "@rspp/kernel/control-signals";
import type { CompiledPipeline } from "../compiled.ts";
import { suggest } from "../nearest.ts";
import { placeOf } from "../places.ts";
import { ProblemList, type SpecProblem } from "../problem.ts";
import type { Refuse, TestScript, TurnExpectation } from "./script.ts";

/** Sorted by place; empty where everything is known. */
export function checkAgainstPipeline(
  script: TestScript,
  pipeline: Pick<CompiledPipeline, "graph" | "name">,
  fileName: string,
): SpecProblem[] {
  const problems = new ProblemList(fileName);
  const { nodes } = pipeline.graph;
  const refuse: Refuse = (path, message, remedy) =>
    problems.add(placeOf(script.positions, path), { path, code: "unknown_node", message, remedy });
  const served = nodes.filter(({ candidates }) => candidates.length > 0).map(({ id }) => id);
  for (const id of Object.keys(script.providers ?? {})) {
    if (served.includes(id)) continue;
    refuse(`providers.${id}`, `${pipeline.name} has no node "${id}" with a provider`, suggest(id, served, "nodes"));
  }
  const tools = nodes.flatMap((node) => (node.tools ?? []).map(({ name }) => name));
  const checkTool = (name: string | undefined, path: string): void => {
    if (name === undefined || tools.includes(name)) return;
    refuse(path, `${pipeline.name} has no tool "${name}"`, suggest(name, tools, "tools"));
  };
  for (const name of Object.keys(script.tools ?? {})) checkTool(name, `tools.${name}`);
  const expectations: [TurnExpectation | undefined, string][] = [
    ...script.steps.map(({ expect }, i): [TurnExpectation | undefined, string] => [expect, `steps[${i}].expect`]),
    [script.expect, "expect"],
  ];
  const signals = Object.keys(CONTROL_SIGNALS);
  for (const [expect, path] of expectations) {
    for (const [i, tool] of (expect?.tools ?? []).entries()) {
      checkTool(tool.called, `${path}.tools[${i}].called`);
      checkTool(tool.not_called, `${path}.tools[${i}].not_called`);
    }
    for (const [i, wanted] of (expect?.signals ?? []).entries()) {
      const name = typeof wanted === "string" ? wanted : wanted.signal;
      const at = typeof wanted === "string" ? `${path}.signals[${i}]` : `${path}.signals[${i}].signal`;
      if (!signals.includes(name)) refuse(at, `there is no signal "${name}"`, suggest(name, signals, "signals"));
    }
  }
  return problems.sorted();
}
