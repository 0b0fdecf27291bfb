/** Tools of the checkout that gates run: each to its end, bounded in time and output. */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ToolRun {
  /** Null where it was stopped or did not start. */
  readonly status: number | null;
  /** The end of what it printed. */
  readonly output: string;
}

const outputCharsMax = 64_000;
const toolMsMax = 20 * 60_000;

/** @param tool a program, or the name of one in node_modules/.bin. */
export function runTool(root: string, tool: string, args: readonly string[]): Promise<ToolRun> {
  const own = join(root, "node_modules/.bin", tool);
  return new Promise((resolve) => {
    const child = spawn(existsSync(own) ? own : tool, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk: string): void => {
      output = (output + chunk).slice(-outputCharsMax);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    const timer = setTimeout(() => child.kill("SIGKILL"), toolMsMax);
    const end = (status: number | null): void => {
      clearTimeout(timer);
      resolve({ status, output: output.trim() });
    };
    child.on("error", (error) => {
      keep(error.message);
      end(null);
    });
    child.on("close", end);
  });
}

export const hasTool = (root: string, tool: string): boolean => existsSync(join(root, "node_modules/.bin", tool));

export interface TestRun {
  readonly passed: number;
  readonly failed: number;
  /** Titles of those that failed, or the end of the output where none ran. */
  readonly problems: readonly string[];
}

interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  testResults: { assertionResults: { fullName: string; status: string }[]; message?: string }[];
}

/** Runs test files that exist already. @param name of the tests, a pattern; empty: all. */
export async function runTests(root: string, files: readonly string[], name: string): Promise<TestRun> {
  const dir = mkdtempSync(join(tmpdir(), "rspp-gate-"));
  const report = join(dir, "report.json");
  try {
    const only = name === "" ? [] : ["-t", name];
    const args = ["run", ...files, ...only, "--maxWorkers=1", "--reporter=json", `--outputFile=${report}`];
    const { output } = await runTool(root, "vitest", args);
    if (!existsSync(report)) return { passed: 0, failed: 0, problems: [output.slice(-400)] };
    const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8")) as VitestReport;
    const all = testResults.flatMap(({ assertionResults }) => assertionResults);
    const failed = all.filter(({ status }) => status === "failed").map(({ fullName }) => fullName);
    return { passed: numPassedTests, failed: numFailedTests, problems: failed };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
