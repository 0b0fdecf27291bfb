/** `rspp features`: feature numbers and the tests that prove them, in a checkout. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { EXIT_FAILED, EXIT_OK, usageError } from "../errors.ts";
import { type Done, examples, jsonOption } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { type Paint, paint } from "../output/style.ts";
import { table } from "../output/table.ts";

interface Report {
  testResults: { name: string; assertionResults: { title: string; status: string }[] }[];
}

type Verdict = "proven" | "failed" | "not run";

interface Feature {
  feature: string;
  verdict: Verdict;
  tests: readonly { test: string; status: string }[];
}

const root = fileURLToPath(new URL("../../..", import.meta.url));
const looks: Readonly<Record<Verdict, Paint>> = { proven: "green", failed: "red", "not run": "dim" };

export function registerFeatures(cli: Command, done: Done): void {
  const command = cli
    .command("features")
    .summary("features and the tests that prove them")
    .description("list the features of this build with the tests that prove them, and how those went in the last run")
    .argument("[feature...]", "only these, e.g. F-043")
    .addOption(jsonOption())
    .action((wanted: string[], options: { json?: boolean }) => done(features(wanted, options.json ?? false)));
  examples(command, ["rspp features", ""], ["rspp features F-043 F-125", "each test of these"]);
}

function features(wanted: readonly string[], json: boolean): number {
  const file = join(root, "test/features.json");
  if (!existsSync(file))
    throw usageError("the map of features is not here", "run it in a checkout of RSPP, where test/features.json is");
  const map = JSON.parse(readFileSync(file, "utf8")) as Record<string, string[]>;
  const known = wanted.map((id) => id.toUpperCase());
  const missing = known.filter((id) => map[id] === undefined);
  if (missing.length > 0)
    throw usageError(`no test is known for ${missing.join(", ")}`, "`rspp features` lists those that are");
  const ran = lastRun();
  const found = Object.entries(map)
    .filter(([id]) => known.length === 0 || known.includes(id))
    .map(([id, proofs]) => featureOf(id, proofs, ran))
    .sort((a, b) => order(a.feature).localeCompare(order(b.feature)));
  const printer = createPrinter(json);
  const proven = found.filter(({ verdict }) => verdict === "proven").length;
  printer.data({ features: found, proven, run_known: ran !== null });
  printer.lines(known.length > 0 ? details(found) : overview(found));
  if (ran === null) printer.note("no test run is known here: `npm test` first to see how they went");
  else printer.note(`${found.length} features, ${proven} proven by the last run`);
  return found.some(({ verdict }) => verdict === "failed") ? EXIT_FAILED : EXIT_OK;
}

const order = (id: string): string => id.replace(/\d+/, (n) => n.padStart(4, "0"));

/** How each test went in the last `npm test`, by file; null when none is known. */
function lastRun(): ReadonlyMap<string, { title: string; status: string }[]> | null {
  const file = join(root, ".cache/vitest.json");
  if (!existsSync(file)) return null;
  const report = JSON.parse(readFileSync(file, "utf8")) as Report;
  return new Map(report.testResults.map(({ name, assertionResults }) => [name.slice(root.length), assertionResults]));
}

function featureOf(feature: string, proofs: readonly string[], ran: ReturnType<typeof lastRun>): Feature {
  const tests = proofs.map((test) => ({ test, status: statusOf(test, ran) }));
  const failed = tests.some(({ status }) => status === "failed");
  const all = tests.length > 0 && tests.every(({ status }) => status === "passed");
  return { feature, verdict: failed ? "failed" : all ? "proven" : "not run", tests };
}

/** A title that is a template stands for every test made of it. */
function statusOf(proof: string, ran: ReturnType<typeof lastRun>): string {
  const [path = "", title = ""] = proof.split("::");
  const tests = ran?.get(path) ?? [];
  const exact = tests.filter((test) => test.title === title);
  const pattern = titlePattern(title);
  const found = (exact.length > 0 ? exact : tests.filter((test) => pattern.test(test.title))).map(
    ({ status }) => status,
  );
  if (found.includes("failed")) return "failed";
  return found.length > 0 && found.every((status) => status === "passed") ? "passed" : "not run";
}

/** `${…}`, `$name` and `%s` of a title stand for any text, as in test/tidy/features.ts. */
function titlePattern(title: string): RegExp {
  const parts = title.split(/\$\{[^}]*\}|%[sdifjoOc#$]|\$[a-z][\w.]*/);
  const literal = parts.map((part) => part.replaceAll("%%", "%").replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${literal.join("[^]*")}$`);
}

function overview(found: readonly Feature[]): string[] {
  const columns = ["FEATURE", "STATUS", "PROVED BY"].map((head) => ({ head }));
  const rows = found.map(({ feature, verdict, tests }) => {
    const more = tests.length > 1 ? paint("dim", ` (+${tests.length - 1})`) : "";
    return [feature, paint(looks[verdict], verdict), `${tests[0]?.test.replace("::", "  ") ?? ""}${more}`];
  });
  return table(columns, rows);
}

function details(found: readonly Feature[]): string[] {
  return found.flatMap(({ feature, verdict, tests }) => [
    `${paint("bold", feature)}  ${paint(looks[verdict], verdict)}`,
    ...tests.map(({ test, status }) => `  ${status.padEnd(8)} ${test.replace("::", "  ")}`),
  ]);
}
