/** A release is refused unless every gate passed, lately, on this build and over these inputs. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalJson } from "@rspp/base/canonical-json";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  digestOf,
  GATE_SCHEMA,
  type GateArtefact,
  readArtefact,
  sealed,
  sha256Of,
  writeArtefacts,
} from "./artefact.ts";
import { GATES } from "./levels.ts";
import { FRESH_MS, type Refusal, type ReleaseManifest, releaseOf } from "./release.ts";

const nowMs = Date.UTC(2030, 0, 2);
const gates = ["turn_open", "secrets"];
const build = { id: "c0ffee", changed: false, version: "0.1.0" };
let dir = "";
let root = "";

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "rspp-release-"));
  dir = join(root, "out");
  mkdirSync(join(root, "proto"));
  writeFileSync(join(root, "proto/a.proto"), "message A {}");
  mkdirSync(join(dir, "recordings"), { recursive: true });
  writeFileSync(join(dir, "recordings/one"), "recorded");
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

function artefact(name: string, over: Partial<GateArtefact> = {}): GateArtefact {
  const { sha256: _, ...rest } = over;
  return sealed({
    ...{
      schema: GATE_SCHEMA,
      name,
      features: [],
      level: "release",
      verdict: "pass",
      checks: [],
      figures: {},
      reasons: [],
    },
    inputs: [
      { path: "proto", in: "checkout", sha256: digestOf(join(root, "proto")) ?? "" },
      { path: "recordings", in: "artifacts", sha256: digestOf(join(dir, "recordings")) ?? "" },
    ],
    tool: { name: "rspp", version: "0.1.0", build: build.id },
    at: new Date(nowMs - 60_000).toISOString(),
    duration_ms: 1,
    ...rest,
  });
}

const passing = (over: Partial<GateArtefact> = {}) =>
  writeArtefacts(dir, [artefact("turn_open", over), artefact("secrets")]);

const ask = (over: Partial<Parameters<typeof releaseOf>[0]> = {}) =>
  releaseOf({ dir, version: "1.4.0", gates, build, root, nowMs, ...over });

function refused(result: ReturnType<typeof ask>): string[] {
  if ("schema" in result) throw new Error("it was released");
  return (result as readonly Refusal[]).map(({ file, problem }) => `${file}: ${problem}`);
}

test("NF-024 fresh, passing artefacts make a manifest that names each with its hash", () => {
  passing();
  const manifest = ask() as ReleaseManifest;
  expect(manifest).toMatchObject({ schema: "rspp/release-manifest/v1", version: "1.4.0", build: "c0ffee" });
  for (const { file, sha256 } of manifest.gates) expect(sha256).toBe(sha256Of(readFileSync(join(dir, file))));
  expect(manifest.gates.map(({ name }) => name)).toEqual(gates);
  expect(manifest.inputs.map(({ path }) => path)).toEqual(["proto", "recordings"]);
  const { sha256, ...body } = manifest;
  expect(sha256).toBe(sha256Of(canonicalJson(body)));
});

test("NF-024 NF-029 a gate whose artefact is missing refuses it by name", () => {
  writeArtefacts(dir, [artefact("turn_open")]);
  expect(refused(ask())).toEqual(["secrets.json: it is missing"]);
});

test("NF-024 an artefact that failed, or did not run, refuses it with its reason", () => {
  passing({ verdict: "fail", reasons: ["p95_ms is 121.0, the bar is 120"] });
  expect(refused(ask())).toEqual(["turn_open.json: its verdict is fail: p95_ms is 121.0, the bar is 120"]);
  passing({ verdict: "not_run" });
  expect(refused(ask())[0]).toContain("its verdict is not_run");
});

test("NF-024 24 hours are fresh, a moment more is stale, and the future is no proof", () => {
  passing({ at: new Date(nowMs - FRESH_MS).toISOString() });
  expect("schema" in ask()).toBe(true);
  passing({ at: new Date(nowMs - FRESH_MS - 1).toISOString() });
  expect(refused(ask())[0]).toContain("turn_open.json: it is stale");
  passing({ at: new Date(nowMs + 3_600_000).toISOString() });
  expect(refused(ask())[0]).toContain("it is of the future");
  passing({ at: "yesterday" });
  expect(refused(ask())[0]).toContain("it is stale");
});

test("NF-024 another build, changes in no commit, and another level are refused", () => {
  passing({ tool: { name: "rspp", version: "0.1.0", build: "decaf" } });
  expect(refused(ask())[0]).toBe("turn_open.json: it is of another build, decaf; this is c0ffee");
  passing({ level: "quick" });
  expect(refused(ask())[0]).toContain("it is of `rspp gate quick`");
  passing();
  expect(refused(ask({ build: { ...build, changed: true } }))[0]).toContain("changes that are in no commit");
});

test("NF-024 NF-028 an altered artefact is refused by its file's name, however carefully it was altered", () => {
  passing({ verdict: "fail", reasons: ["slow"] });
  const file = join(dir, "turn_open.json");
  const text = readFileSync(file, "utf8").replace('"fail"', '"pass"');
  writeFileSync(file, text);
  expect(refused(ask())).toEqual(["turn_open.json: it was altered: its content has another SHA-256"]);
  // With its own hash made anew the list of hashes still tells.
  writeFileSync(file, JSON.stringify(artefact("turn_open")));
  expect(refused(ask())[0]).toMatch(/^turn_open.json: it was altered: SHA256SUMS lists another/);
  writeFileSync(file, "{");
  expect(refused(ask())).toEqual(["turn_open.json: it is no JSON"]);
  writeFileSync(file, JSON.stringify(artefact("secrets")));
  expect(refused(ask())).toEqual(["turn_open.json: it is the artefact of secrets"]);
});

test("NF-024 an input that was altered or taken away since is refused by its name", () => {
  passing();
  writeFileSync(join(root, "proto/a.proto"), "message B {}");
  expect(refused(ask())).toEqual(["proto: this input was altered since it was judged"]);
  rmSync(join(dir, "recordings"), { recursive: true });
  expect(refused(ask())[1]).toBe("recordings: this input is missing");
});

test("NF-024 every level has the gates of the one below; a release has them all, each once", () => {
  const names = (level: keyof typeof GATES) => GATES[level].map(({ name }) => name);
  expect(names("release")).toEqual(expect.arrayContaining([...names("full"), ...names("security")]));
  expect(names("full")).toEqual(expect.arrayContaining(names("quick")));
  expect(new Set(names("release")).size).toBe(names("release").length);
  expect(names("quick")).toEqual(expect.arrayContaining(["turn_open", "end_to_end", "golden_replay", "contracts"]));
});

test("NF-024 what is read back is what was written", () => {
  passing();
  const text = readFileSync(join(dir, "turn_open.json"), "utf8");
  expect(readArtefact(text)).toEqual(artefact("turn_open"));
  expect(readArtefact("[]")).toBe("it is no rspp/gate-result/v1");
});
