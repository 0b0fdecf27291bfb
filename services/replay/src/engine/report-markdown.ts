/** A divergence report for people, as Markdown: also what the command prints. */
import type { Divergence, DivergenceReport, RunSummary } from "./diff.ts";

const VERDICTS: Readonly<Record<DivergenceReport["verdict"], string>> = {
  same: "the runs are the same",
  explained: "no difference that fails",
  failed: "FAILED",
};

export function reportMarkdown(report: DivergenceReport, notes: readonly string[] = []): string {
  const { verdict, divergences, unmet, latencies, left } = report;
  const lines = [
    `# Divergence report: ${VERDICTS[verdict]}`,
    "",
    `- a: ${runWords(report.a)}`,
    `- b: ${runWords(report.b)}`,
    `- ${countWords(report)}`,
    ...notes.map((note) => `- ${cell(note)}`),
  ];
  if (divergences.length > 0) {
    lines.push("", "## Divergences", "", "| class | turn | node | what | a | b | |", "|---|---|---|---|---|---|---|");
    for (const one of divergences) lines.push(row(one));
    if (left > 0) lines.push("", `${left} more are not listed.`);
  }
  if (unmet.length > 0) {
    lines.push("", "## Declared, and did not occur", "");
    for (const { class: kind, where, reason } of unmet) {
      const place = Object.entries(where).map(([name, value]) => `${name} ${value}`);
      lines.push(`- ${kind}${place.length === 0 ? "" : ` at ${place.join(", ")}`}: ${cell(reason)}`);
    }
  }
  if (latencies.length > 0) {
    lines.push(
      "",
      "## Latencies",
      "",
      "| | turns | a p50 | b p50 | a max | b max | worst change |",
      "|---|--:|--:|--:|--:|--:|--:|",
    );
    for (const one of latencies)
      lines.push(
        `| ${one.metric} | ${one.turns} | ${ms(one.aP50Ms)} | ${ms(one.bP50Ms)} | ${ms(one.aMaxMs)} | ${ms(one.bMaxMs)} | ${signed(one.worstRegressionMs)} |`,
      );
  }
  return `${lines.join("\n")}\n`;
}

export function runWords({ mode, sessionId, pipeline, level, redacted, turns }: RunSummary): string {
  return `${sessionId} (${mode}, ${pipeline || "pipeline unknown"}, ${level}${redacted ? ", redacted" : ""}, ${turns} turns)`;
}

export function countWords({ counts, divergences }: DivergenceReport): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0);
  if (some.length === 0) return "no divergence";
  const failing = divergences.filter((one) => one.fails).length;
  return `${some.map(([name, count]) => `${name} ${count}`).join(", ")}; ${failing} fail`;
}

/** Why a divergence fails, or does not. */
export function statusWords({ class: kind, fails, declared, withinTolerance }: Divergence): string {
  if (declared !== null) return `expected: ${declared.reason}`;
  if (fails) return kind === "TIMING" ? "fails: past the threshold" : "fails: unexplained";
  return withinTolerance === true ? "within tolerance" : "beyond tolerance, no threshold set";
}

function row(one: Divergence): string {
  const change = one.deltaMs === null ? "" : ` (${signed(one.deltaMs)})`;
  const cells = [one.class, one.turn === 0 ? "session" : one.turn, one.node, one.what, one.a, `${one.b}${change}`];
  return `| ${cells.map((value) => cell(String(value))).join(" | ")} | ${cell(statusWords(one))} |`;
}

const CELL_MAX = 160;

function cell(text: string): string {
  const short = text.length > CELL_MAX ? `${text.slice(0, CELL_MAX)}…` : text;
  return short.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replaceAll(/\s+/g, " ").replaceAll("<", "&lt;");
}

export const ms = (value: number): string => `${value < 10 ? Math.round(value * 10) / 10 : Math.round(value)} ms`;

export function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${ms(Math.abs(value))}`;
}
