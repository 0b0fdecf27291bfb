// Entry of `npm test`: every check of the repository, one line of progress each, and a total at the end.
// Plain JavaScript without imports from the repository, so that an old Node can at least say what is wrong with it.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const rootDir = dirname(dirname(fileURLToPath(import.meta.url)));
const cacheDir = join(rootDir, ".cache");
const vitestReport = join(cacheDir, "vitest.json");
const summaryFile = join(cacheDir, "test-summary.txt");
const nodeMajorMin = 24;
const stepTimeoutMs = process.argv.includes("--full") ? 60 * 60_000 : 25 * 60_000;
const outputCharsMax = 400_000;
const drainMs = 2_000;
const inCi = process.env.CI === "true";
/** The longer tier, `npm run verify:full`. */
const full = process.argv.includes("--full");
const seeds = full ? 20_000 : 2_000;

const testResults = [];

/** Suites that drive real processes and sockets by the clock. */
const inRealTime = ["conformance", "integration", "failover", "e2e", "livekit", "polyglot", "deploy"].map(
  (dir) => `test/${dir}`,
);
/** Of them those that judge delays or hear real speech: each has the machine to itself. */
const alone = Object.entries({
  conformance: "adapters",
  e2e: "browser questions recordings resume start telemetry",
  failover: "*",
  livekit: "livekit",
  integration: `barge-in dialogue idle-connections link-load link-pair link-refusals otlp remote-invocations remote-providers
    remote-session remote-session-order remote-session-pairs replay-outage-control replay-service-outage session
    websocket-bad-input websocket-runtime websocket-session`,
}).flatMap(([dir, names]) => names.split(/\s+/).map((name) => `test/${dir}/${name}.test.ts`));

/**
 * One check. `command` gives the tool of node_modules/.bin (or `node`, this one) and its arguments, or `{ skip }` with the
 * reason in a few words, or `{ fail }`. `count` turns the exit code into numbers; by default a step counts as one.
 * `lines` of the output's end are shown also when it passes; `env` is added to the environment.
 */
const steps = [
  { name: "lint and format (biome)", command: () => ["biome", "check", "."] },
  { name: "types (tsc)", command: () => ["tsc", "-p", "tsconfig.json"] },
  { name: "contracts (buf lint)", command: () => ["buf", "lint"] },
  { name: "contracts (buf breaking)", command: breakingCommand },
  vitestStep("tests of the rooms", "rooms", [...inRealTime.flatMap((dir) => ["--exclude", `${dir}/**`])]),
  vitestStep("tests of the whole, two files at a time", "whole", [
    ...inRealTime,
    ...alone.flatMap((file) => ["--exclude", file]),
    "--maxWorkers=2",
  ]),
  vitestStep("tests of the whole, one file at a time", "alone", [
    ...alone.map((file) => file.replace("*.test.ts", "")),
    // Services killed, stopped, cut off and replaced under calls: minutes, in the longer tier.
    ...(full ? [] : ["--exclude", "test/failover/failover.test.ts"]),
    "--maxWorkers=1",
  ]),
  {
    name: `simulator (${seeds} seeds)`,
    command: () => ["node", "test/sim/main.ts", "--from", "0", "--seeds", String(seeds), "--workers", "2", "--json"],
    lines: 50,
  },
  { name: "planted bugs", command: () => ["node", "test/sim/main.ts", "--mutants", "--json"], lines: 20 },
  ...(full
    ? [
        {
          name: "mechanical mutants",
          command: () => ["node", "test/sim/mechanical.ts", "--workers", "2"],
          lines: 40,
        },
      ]
    : []),
];

function git(...args) {
  const stdio = ["ignore", "pipe", "ignore"];
  return execFileSync("git", args, { cwd: rootDir, encoding: "utf8", stdio, maxBuffer: 64 << 20 }).trim();
}

function gitKnows(...args) {
  try {
    git(...args);
    return true;
  } catch {
    return false;
  }
}

/** Compares with the previous commit: with HEAD while contracts are being edited, else with the one before it. */
function breakingCommand() {
  if (!existsSync(join(rootDir, ".git"))) return { skip: "not a git checkout" };
  if (!gitKnows("rev-parse", "--git-dir")) {
    return { fail: "git cannot read this checkout (is git installed, and is the directory safe for this user?)" };
  }
  if (!gitKnows("rev-parse", "-q", "--verify", "HEAD")) return { skip: "no commit yet" };
  const edited = git("status", "--porcelain", "--", "proto", "buf.yaml") !== "";
  const against = edited ? "HEAD" : "HEAD~1";
  if (!gitKnows("rev-parse", "-q", "--verify", `${against}^{commit}`)) return { skip: "a single commit" };
  if (!gitKnows("cat-file", "-e", `${against}:buf.yaml`) || !gitKnows("cat-file", "-e", `${against}:proto/rspp`)) {
    return { skip: "the previous commit has no contracts" };
  }
  const archive = join(cacheDir, "previous-contracts.tar");
  git("archive", "--format=tar", "-o", archive, against, "buf.yaml", "proto");
  return ["buf", "breaking", "--against", archive];
}

function vitestStep(name, part, args) {
  const report = join(cacheDir, `vitest-${part}.json`);
  return {
    name,
    command: () => {
      rmSync(report, { force: true });
      return ["vitest", "run", ...args, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    },
    env: full ? { KERNEL_RUNS: "5000", FUZZ_RUNS: "20000", RSPP_FAILOVER_CALLS: "50", RSPP_OUTAGE_MS: "45000" } : {},
    count: (exitCode) => countVitest(exitCode, report),
  };
}

/** The numbers of vitest's own report; a run that failed otherwise than by a test counts as one more failure. */
function countVitest(exitCode, reportFile) {
  if (!existsSync(reportFile)) return { passed: 0, failed: 1, skipped: 0 };
  const report = JSON.parse(readFileSync(reportFile, "utf8"));
  testResults.push(...(report.testResults ?? []));
  const skipped = (report.numPendingTests ?? 0) + (report.numTodoTests ?? 0);
  const counts = { passed: report.numPassedTests ?? 0, failed: report.numFailedTests ?? 0, skipped };
  const ranNothing = counts.passed + counts.failed === 0;
  if (counts.failed === 0 && (exitCode !== 0 || ranNothing)) counts.failed = 1;
  return counts;
}

function countStep(exitCode) {
  return { passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 };
}

/** Stops a tool and all that it started: each runs in a process group of its own. */
function stopTool(child) {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // it has ended meanwhile
  }
}

/** Runs a tool to its end with its output kept; one that hangs is stopped, and so is one that we leave behind. */
function runTool([tool, ...args], env) {
  const [file, all] = tool === "node" ? [process.execPath, args] : ["npx", ["--no-install", tool, ...args]];
  return new Promise((resolve) => {
    const child = spawn(file, all, {
      cwd: rootDir,
      detached: true,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const keep = (chunk) => {
      output = (output + chunk).slice(-outputCharsMax);
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    const timer = setTimeout(() => {
      keep(`\nstopped: not done after ${stepTimeoutMs / 60_000} minutes\n`);
      stopTool(child);
    }, stepTimeoutMs);
    const interrupted = () => {
      stopTool(child);
      process.exit(130);
    };
    process.once("SIGINT", interrupted).once("SIGTERM", interrupted);
    const end = (exitCode) => {
      clearTimeout(timer);
      process.off("SIGINT", interrupted).off("SIGTERM", interrupted);
      resolve({ exitCode, output });
    };
    child.on("error", (error) => {
      keep(`${file} did not start: ${error.message}\n`);
      end(1);
    });
    // A process that a test left behind may hold our pipes open: do not wait for it for ever.
    child.on("exit", (exitCode) => setTimeout(() => end(exitCode ?? 1), drainMs).unref());
    child.on("close", (exitCode) => end(exitCode ?? 1));
  });
}

/** Prints the step's line and returns its counts. */
async function runStep(step) {
  const say = (word, detail) => console.log(`${word.padEnd(7)} ${step.name}${detail === "" ? "" : `: ${detail}`}`);
  const command = step.command();
  if (command.skip !== undefined) {
    say("skipped", command.skip);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  if (command.fail !== undefined) {
    say("FAILED", command.fail);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  if (command[0] !== "node" && !existsSync(join(rootDir, "node_modules", ".bin", command[0]))) {
    say(inCi ? "FAILED" : "skipped", `${command[0]} is not installed, run \`npm ci\``);
    return { passed: 0, failed: inCi ? 1 : 0, skipped: inCi ? 0 : 1 };
  }
  const startedMs = performance.now();
  const { exitCode, output } = await runTool(command, step.env);
  const seconds = `${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
  const counts = (step.count ?? countStep)(exitCode);
  const tests =
    step.count === undefined ? "" : `, ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`;
  if (counts.failed > 0) console.log(output.trimEnd());
  else if (step.lines !== undefined) console.log(output.trimEnd().split("\n").slice(-step.lines).join("\n"));
  say(counts.failed > 0 ? "FAILED" : "ok", `${seconds}${tests}`);
  return counts;
}

async function main() {
  const total = { passed: 0, failed: 0, skipped: 0 };
  mkdirSync(cacheDir, { recursive: true });
  rmSync(vitestReport, { force: true });
  rmSync(summaryFile, { force: true });
  for (const step of steps) {
    const counts = await runStep(step);
    for (const key of Object.keys(total)) total[key] += counts[key];
  }
  // One report of all, for `npm run features`.
  writeFileSync(vitestReport, JSON.stringify({ testResults }));
  const summary = `${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`;
  writeFileSync(summaryFile, `${summary}\n`);
  console.log(summary);
  process.exitCode = total.failed > 0 ? 1 : 0;
}

const nodeMajor = Number.parseInt(process.versions.node, 10);
if (nodeMajor < nodeMajorMin) {
  console.error(
    `RSPP needs Node ${nodeMajorMin} or newer, this is ${process.versions.node} (${process.execPath}).\n` +
      "On Linux x64 `npm ci` brings a pinned Node 24, and `npm test` uses it by itself.\n" +
      `Elsewhere install Node ${nodeMajorMin}, then run \`npm ci && npm test\` again.`,
  );
  console.log("0 passed, 1 failed, 0 skipped");
  process.exitCode = 1;
} else {
  await main();
}
