/** The map of features: each proof exists; a release has one of every feature, none of which failed in the last run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { GateOutcome } from "./artefact.ts";
import { check, checkoutInput, type GateContext, judged } from "./context.ts";

const file = "test/features.json";

const numbered = (kind: string, from: number, to: number, digits: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${kind}-${String(from + i).padStart(digits, "0")}`);

/** Every feature that the product promises. */
export const CATALOGUE: readonly string[] = [
  ...numbered("F", 1, 176, 3),
  ...numbered("NF", 1, 19, 3),
  ...numbered("NF", 24, 38, 3),
  ...numbered("X", 1, 10, 2),
];

type Problems = (map: unknown, readText: (path: string) => string | undefined) => string[];

export async function featureMap({ root, level }: GateContext): Promise<GateOutcome> {
  // The checker of the repository's own tests: a map has one meaning.
  const module = (await import(pathToFileURL(join(root, "test/tidy/features.ts")).href)) as {
    featureProblems: Problems;
  };
  const map = JSON.parse(readFileSync(join(root, file), "utf8")) as Record<string, unknown>;
  return judgeMap(
    map,
    module.featureProblems(map, (path) => textOf(root, path)),
    level,
    [checkoutInput(root, file)],
  );
}

export function judgeMap(
  map: Readonly<Record<string, unknown>>,
  problems: readonly string[],
  level: GateContext["level"],
  inputs: GateOutcome["inputs"],
): GateOutcome {
  const missing = CATALOGUE.filter((id) => map[id] === undefined);
  const checks = [check("broken_proofs", "=", 0, problems.length)];
  const reasons = [...problems];
  if (level === "release") {
    checks.push(check("features_without_proof", "=", 0, missing.length));
    if (missing.length > 0) reasons.push(`no test is named for ${missing.join(", ")}`);
  }
  const figures = { mapped: CATALOGUE.length - missing.length, promised: CATALOGUE.length };
  return judged(checks, reasons, inputs, figures);
}

function textOf(root: string, path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "utf8");
  } catch {
    return undefined;
  }
}
