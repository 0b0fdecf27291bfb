/** `npm run features`: feature numbers, the tests that prove them, and how those went in the last `npm test`. */
import { existsSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { type FeatureEntry, proofsOf, titlePattern } from "./tidy/features.ts";

interface Report {
  testResults: { name: string; assertionResults: { title: string; status: string }[] }[];
}

const features = JSON.parse(readFileSync(new URL("./features.json", import.meta.url), "utf8")) as Record<
  string,
  FeatureEntry
>;
const reportFile = new URL("../.cache/vitest.json", import.meta.url);
/** How each test went, by file. */
const ran = new Map<string, { title: string; status: string }[]>();
if (existsSync(reportFile)) {
  const root = process.cwd();
  for (const file of (JSON.parse(readFileSync(reportFile, "utf8")) as Report).testResults) {
    ran.set(relative(root, file.name), file.assertionResults);
  }
} else console.log("no test run is known here: `npm test` first to see how they went\n");

/** A title that is a template stands for every test made of it. */
function statusOf(proof: string): string {
  const [path = "", title = ""] = proof.split("::");
  const tests = ran.get(path) ?? [];
  const exact = tests.filter((test) => test.title === title);
  const pattern = titlePattern(title);
  const found = (exact.length > 0 ? exact : tests.filter((t) => pattern.test(t.title))).map((test) => test.status);
  if (found.includes("failed")) return "failed";
  return found.length > 0 && found.every((s) => s === "passed") ? "passed" : "not run";
}

const order = (id: string): string => id.replace(/\d+/, (n) => n.padStart(4, "0"));
let proven = 0;
const ids = Object.keys(features).sort((a, b) => order(a).localeCompare(order(b)));
for (const id of ids) {
  const entry = features[id] ?? [];
  const tests = proofsOf(entry);
  const results = tests.map(statusOf);
  const word = results.every((r) => r === "passed") ? "proven" : results.includes("failed") ? "FAILED" : "not run";
  if (word === "proven") proven += 1;
  console.log(
    `${id.padEnd(7)} ${word.padEnd(8)} ${"tests" in entry ? entry.determinism : "  "} ${tests[0] ?? ""}${tests.length > 1 ? ` (+${tests.length - 1})` : ""}`,
  );
}
console.log(`\n${ids.length} features mapped, ${proven} proven by the last run`);
