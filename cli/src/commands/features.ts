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

interface Tested {
  test: string;
  status: string;
}

/** As in test/tidy/features.ts: the tests alone, or with them what they show. */
type Entry = readonly string[] | { tests: readonly string[]; determinism: string; negative: string; measure: string };

interface Feature {
  feature: string;
  verdict: Verdict;
  tests: readonly Tested[];
  /** What a replay of the proving test shows; null where the map does not say, as the fields below. */
  determinism: string | null;
  /** The test of the refusal or the failure. */
  negative: Tested | null;
  measure: string | null;
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
  const map = JSON.parse(readFileSync(file, "utf8")) as Record<string, Entry>;
  const known = wanted.map((id) => id.toUpperCase());
  const missing = known.filter((id) => map[id] === undefined);
  if (missing.length > 0)
    throw usageError(`no test is known for ${missing.join(", ")}`, "`rspp features` lists those that are");
  const ran = lastRun();
  const found = Object.entries(map)
    .filter(([id]) => known.length === 0 || known.includes(id))
    .map(([id, entry]) => featureOf(id, entry, ran))
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

function featureOf(feature: string, entry: Entry, ran: ReturnType<typeof lastRun>): Feature {
  const tested = (test: string): Tested => ({ test, status: statusOf(test, ran) });
  const shown = "tests" in entry ? entry : null;
  const tests = (shown === null ? (entry as readonly string[]) : shown.tests).map(tested);
  const negative = shown === null ? null : tested(shown.negative);
  const all = negative === null ? tests : [...tests, negative];
  const failed = all.some(({ status }) => status === "failed");
  const passed = tests.length > 0 && all.every(({ status }) => status === "passed");
  return {
    ...{ feature, verdict: failed ? "failed" : passed ? "proven" : "not run", tests, negative },
    ...{ determinism: shown?.determinism ?? null, measure: shown?.measure ?? null },
  };
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
  const columns = ["FEATURE", "STATUS", "LEVEL", "PROVED BY"].map((head) => ({ head }));
  const rows = found.map(({ feature, verdict, tests, determinism }) => {
    const more = tests.length > 1 ? paint("dim", ` (+${tests.length - 1})`) : "";
    return [
      feature,
      paint(looks[verdict], verdict),
      determinism ?? "",
      `${tests[0]?.test.replace("::", "  ") ?? ""}${more}`,
    ];
  });
  return table(columns, rows);
}

function details(found: readonly Feature[]): string[] {
  const line = ({ test, status }: Tested): string => `  ${status.padEnd(8)} ${test.replace("::", "  ")}`;
  return found.flatMap(({ feature, verdict, tests, determinism, negative, measure }) => [
    [paint("bold", feature), paint(looks[verdict], verdict), determinism ?? ""].join("  ").trimEnd(),
    ...(measure === null ? [] : [`  measure  ${measure}`]),
    ...tests.map(line),
    ...(negative === null ? [] : [`${line(negative)} ${paint("dim", "(negative)")}`]),
  ]);
}
