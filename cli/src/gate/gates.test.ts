/** The gates beside the seven: each passes over what is good, and fails over what it is there to find. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { report } from "../actions/gate.ts";
import type { OverlapRun } from "../latency/overlap.ts";
import { GATE_SCHEMA, readArtefact, sealed } from "./artefact.ts";
import { checkout } from "./build.ts";
import type { GateContext } from "./context.ts";
import { DECISIONS, judgeDecisions } from "./decisions.ts";
import { CATALOGUE, judgeMap } from "./feature-map.ts";
import { goldenReplay } from "./golden.ts";
import { sessionsOf } from "./recordings.ts";
import { judgeLatency, latencyFigures, latencyRegression, recordingsReplayed } from "./replays.ts";
import { runGates } from "./run.ts";
import { credentialsIn, lockfilePinned } from "./security.ts";
import { simulateCalls } from "./simulated.ts";

let dir = "";
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "rspp-gates-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const context = (over: Partial<GateContext> = {}): GateContext => ({
  ...{ root: dir, level: "quick", sessions: [], recordings: [], recordingPaths: [], simulated: [], seeds: 1 },
  ...over,
});

describe("F-127 replay regression", () => {
  const golden = "test/replay/golden";
  const name = "question.b1.json";
  const put = (change: (text: string) => string): void => {
    mkdirSync(join(dir, golden), { recursive: true });
    writeFileSync(join(dir, golden, name), change(readFileSync(join(checkout, golden, name), "utf8")));
  };

  test("F-127 golden recordings replay as recorded, and each corruption of one is found", () => {
    put((text) => text);
    const { verdict, checks } = goldenReplay(context());
    expect(verdict).toBe("pass");
    const found = Object.fromEntries(checks.map((one) => [one.name, one.found]));
    expect(found).toEqual({ recordings: 1, replayed_identically: 1, corrupted_found: 4, corrupted: 4 });
  });

  test("F-127 another output than was recorded fails it, by the recording's name", () => {
    put((text) => text.replaceAll('"hash":"', '"hash":"0').replaceAll('"commit#1"', '"abort#1"'));
    const { verdict, reasons } = goldenReplay(context());
    expect(verdict).toBe("fail");
    expect(reasons[0]).toMatch(/^question.b1.json: /);
  });

  test("F-127 no golden recordings at all fail it", () => {
    mkdirSync(join(dir, golden), { recursive: true });
    expect(goldenReplay(context()).verdict).toBe("fail");
  });

  test("F-127 NF-001 calls as fast as the baseline pass, slower ones fail with the figure", {
    timeout: 60_000,
  }, async () => {
    const calls = async (llmFirstMs: number) =>
      sessionsOf(await simulateCalls([1, 2, 3, 4], { sttFinalMs: 150, llmFirstMs, ttsFirstMs: 120 }), [], "memory");
    const same = latencyRegression(context({ root: checkout, simulated: await calls(250) }));
    expect(same).toMatchObject({ verdict: "pass", reasons: [] });
    const slower = latencyRegression(context({ root: checkout, simulated: await calls(320) }));
    expect(slower.verdict).toBe("fail");
    expect(slower.reasons.join()).toContain("first_output.p95_ms");
  });

  test("F-127 no baseline, and a figure that is not there any longer, fail it", () => {
    expect(judgeLatency({}, latencyFigures([]), []).verdict).toBe("fail");
    expect(judgeLatency({ "turn_open.p95_ms": 1 }, {}, []).verdict).toBe("fail");
  });

  test("F-127 recordings are re-executed; an altered one diverges by name", { timeout: 60_000 }, async () => {
    const sessions = sessionsOf(await simulateCalls([1]), [], "memory");
    expect(recordingsReplayed(context({ sessions }))).toMatchObject({ verdict: "pass" });
    const inputs = sessions.flatMap(({ runs }) =>
      runs.flatMap(({ entries }) => entries.flatMap((e) => e.batch.inputs)),
    );
    const first = inputs.find(({ body }) => body.type === "provider_outcome");
    Object.assign(first?.body ?? {}, { outcome: "error" });
    const { verdict, reasons } = recordingsReplayed(context({ sessions }));
    expect(verdict).toBe("fail");
    expect(reasons[0]).toContain("simulated-1");
    expect(recordingsReplayed(context()).verdict).toBe("fail");
  });
});

test("a map is enough for a quick look with what it has; a release asks for all of it", () => {
  const whole = Object.fromEntries(CATALOGUE.map((id) => [id, []]));
  const { "NF-024": _, ...lacking } = whole;
  expect(judgeMap(whole, [], "release", []).verdict).toBe("pass");
  expect(judgeMap(lacking, [], "quick", [])).toMatchObject({
    verdict: "pass",
    figures: { mapped: CATALOGUE.length - 1 },
  });
  expect(judgeMap(lacking, [], "release", []).reasons).toEqual(["no test is named for NF-024"]);
  expect(judgeMap(whole, ["F-001: there is no file x"], "quick", []).verdict).toBe("fail");
});

test("F-078 what was decided passes; another profile, a transport less, or a comparison of unlikes does not", () => {
  const run: OverlapRun = {
    streaming: true,
    firstAudioMs: 500,
    completionMs: 2_000,
    caller: "a",
    assistant: "b",
    audioMs: 10,
  };
  const whole = { ...run, streaming: false, firstAudioMs: 900 };
  expect(judgeDecisions(DECISIONS, run, whole).verdict).toBe("pass");
  const more = judgeDecisions({ ...DECISIONS, profiles: ["simple/v1", "latency/v1"] }, run, whole);
  expect(more.reasons).toEqual(["profiles: latency/v1 differs from what was decided"]);
  expect(judgeDecisions({ ...DECISIONS, transports: ["loopback"] }, run, whole).verdict).toBe("fail");
  expect(judgeDecisions(DECISIONS, run, { ...whole, assistant: "c" }).reasons.join()).toContain("compare nothing");
});

test("dependencies without a hash, and ranges, fail the lockfile's gate", () => {
  const write = (dependencies: object, integrity: string): void => {
    writeFileSync(join(dir, "package.json"), JSON.stringify({ dependencies }));
    const packages = { "": {}, "node_modules/ws": { version: "8.0.0", integrity } };
    writeFileSync(join(dir, "package-lock.json"), JSON.stringify({ packages }));
  };
  write({ ws: "8.0.0" }, "sha512-abc");
  expect(lockfilePinned(context()).verdict).toBe("pass");
  write({ ws: "^8.0.0" }, "sha512-abc");
  expect(lockfilePinned(context()).reasons).toEqual(["package.json: ws is ^8.0.0, not one version"]);
  write({ ws: "8.0.0" }, "");
  expect(lockfilePinned(context()).reasons[0]).toContain("node_modules/ws has no SHA-512");
});

test("F-117 NF-011 what looks like a credential in a recording is found by its file", () => {
  writeFileSync(join(dir, "clean"), "Bearer of good news, eyJustice");
  expect(credentialsIn([dir])).toEqual({ files: 1, found: [] });
  // Put together here, so that no search of this repository takes it for one.
  const planted = [
    `Bearer ${"a1".repeat(16)}`,
    `${"-".repeat(5)}BEGIN PRIVATE KEY${"-".repeat(5)}`,
    `AKIA${"Z".repeat(16)}`,
  ];
  for (const one of planted) {
    writeFileSync(join(dir, "leaky"), `\0\u0001${one}\n`);
    expect(credentialsIn([dir]).found).toHaveLength(1);
  }
});

test("NF-024 a run leaves an artefact of each gate; one that breaks has failed", { timeout: 60_000 }, async () => {
  cpSync(join(checkout, "package.json"), join(dir, "package.json"));
  const gates = [
    { name: "fine", features: [], about: "", run: () => judgeMap({}, [], "quick", []) },
    { name: "breaks", features: [], about: "", run: () => Promise.reject(new Error("no buffer")) },
  ];
  const out = join(dir, "out");
  const artefacts = await runGates({
    ...{ level: "quick", gates, root: dir, dir: out, recordings: [], data: "", seeds: 1, onGate: () => {} },
    build: { id: "c0ffee", changed: false, version: "0.1.0" },
    wallMs: () => 0,
  });
  expect(artefacts.map(({ verdict }) => verdict)).toEqual(["pass", "fail"]);
  expect(artefacts[1]?.reasons).toEqual(["the gate broke: no buffer"]);
  expect(readArtefact(readFileSync(join(out, "fine.json"), "utf8"))).toEqual(artefacts[0]);
  expect(readFileSync(join(out, "SHA256SUMS"), "utf8")).toMatch(
    /^[0-9a-f]{64} {2}breaks.json\n[0-9a-f]{64} {2}fine.json\n$/,
  );
});

test("NF-024 the table has bar, found and verdict, and says why below", () => {
  const body: Parameters<typeof sealed>[0] = {
    schema: GATE_SCHEMA,
    level: "quick",
    verdict: "fail",
    checks: [{ name: "p95_ms", op: "<=", bar: 120, found: 130.44, ok: false }],
    ...{ name: "turn_open", features: ["NF-024"], figures: {}, inputs: [], at: "", duration_ms: 1 },
    reasons: ["p95_ms is 130.4, the bar is 120"],
    tool: { name: "rspp", version: "1.0.0", build: "x" },
  };
  const lines = report([sealed(body)]);
  expect(lines[0]).toMatch(/^GATE +WHAT +BAR +FOUND +VERDICT$/);
  expect(lines[1]).toMatch(/^turn_open +p95 +≤ 120 ms +130.4 ms +FAIL$/);
  expect(lines.at(-1)).toBe("turn_open: p95_ms is 130.4, the bar is 120");
});
