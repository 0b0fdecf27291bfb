import type { Check } from "@rspp/replay/gates/types";
import type { GateOptions } from "../commands/gate.ts";
import { EXIT_FAILED, EXIT_OK, usageError } from "../errors.ts";
import { type GateArtefact, LEVELS, type Level } from "../gate/artefact.ts";
import { buildOf, checkout } from "../gate/build.ts";
import type { Gate } from "../gate/context.ts";
import { GATES } from "../gate/levels.ts";
import { runGates } from "../gate/run.ts";
import { createPrinter, createProgress } from "../output/printer.ts";
import { type Paint, paint, printable } from "../output/style.ts";
import { table } from "../output/table.ts";
import { countWords } from "../output/words.ts";

export async function gate(name: string, options: GateOptions): Promise<number> {
  const level = LEVELS.find((one) => one === name);
  if (level === undefined) throw usageError(`there is no level ${name}`, `use ${LEVELS.join(", ")}`);
  const gates = chosen(level, options.only ?? []);
  const build = buildOf(checkout);
  const progress = createProgress();
  const printer = createPrinter(options.json ?? false);
  const artefacts = await runGates({
    ...{ level, gates, build, root: checkout, dir: options.artifacts, data: options.data, seeds: options.seeds },
    recordings: options.recordings ?? [],
    wallMs: () => Date.now(),
    onGate: (one, artefact) => artefact === null && progress.tell(`${one.name}: ${one.about}`),
  });
  progress.done();
  const failed = artefacts.filter(({ verdict }) => verdict === "fail").length;
  const missing = artefacts.filter(({ verdict }) => verdict === "not_run").length;
  const ok = failed === 0 && (missing === 0 || level !== "release");
  printer.data({ ok, level, build: build.id, artifacts: options.artifacts, gates: artefacts });
  printer.lines(report(artefacts));
  printer.line();
  const notRun = missing === 0 ? "" : `, ${missing} not run`;
  const verdict = ok ? paint("green", "passed") : paint("red", "FAILED");
  printer.line(`${level} ${verdict}: ${countWords(artefacts.length, "gate")}, ${failed} failed${notRun}`);
  printer.line(paint("dim", `artefacts in ${options.artifacts}`));
  return ok ? EXIT_OK : EXIT_FAILED;
}

function chosen(level: Level, only: readonly string[]): readonly Gate[] {
  const gates = GATES[level];
  const unknown = only.filter((name) => !gates.some((one) => one.name === name));
  if (unknown.length > 0)
    throw usageError(
      `${level} has no gate ${unknown.join(", ")}`,
      `it has ${gates.map(({ name }) => name).join(", ")}`,
    );
  return only.length === 0 ? gates : gates.filter(({ name }) => only.includes(name));
}

const looks: Readonly<Record<GateArtefact["verdict"], readonly [Paint, string]>> = {
  pass: ["green", "pass"],
  fail: ["red", "FAIL"],
  not_run: ["yellow", "not run"],
};

/** A line for each bar; the verdict stands once for each gate, why it failed below it. */
export function report(artefacts: readonly GateArtefact[]): string[] {
  const columns = [
    ...[{ head: "GATE" }, { head: "WHAT" }, { head: "BAR", right: true }, { head: "FOUND", right: true }],
    { head: "VERDICT" },
  ];
  const rows = artefacts.flatMap(({ name, checks, verdict }) => {
    const [colour, word] = looks[verdict];
    const lines = checks.length === 0 ? [null] : checks;
    return lines.map((one, i) => [i === 0 ? name : "", ...cells(one), i === 0 ? paint(colour, word) : ""]);
  });
  const why = artefacts.flatMap(({ name, reasons, verdict }) =>
    verdict === "pass" ? [] : reasons.map((reason) => `${paint(looks[verdict][0], name)}: ${printable(reason)}`),
  );
  return [...table(columns, rows), ...(why.length === 0 ? [] : ["", ...why])];
}

const signs = { "<=": "≤", ">=": "≥", "=": "=" } as const;

function cells(one: Check | null): string[] {
  if (one === null) return ["", "", ""];
  const { name, op, bar, found, ok } = one;
  const value = found === null ? "-" : shown(found, name);
  return [
    name.replace(/_(ms|percent)$/, "").replaceAll(/[._]/g, " "),
    `${signs[op]} ${shown(bar, name)}`,
    ok ? value : paint("red", value),
  ];
}

function shown(value: number, name: string): string {
  const text = Number.isInteger(value) ? String(value) : value.toFixed(1);
  if (name.endsWith("_ms")) return `${text} ms`;
  return name.endsWith("_percent") ? `${text} %` : text;
}
