/** `rspp release`: no manifest without fresh, passing artefacts of this very build and these very inputs. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalJson } from "@rspp/base/canonical-json";
import { digestOf, type GateArtefact, type GateInput, readArtefact, SUMS_FILE, sha256Of } from "./artefact.ts";
import type { Build } from "./build.ts";

export const MANIFEST_SCHEMA = "rspp/release-manifest/v1";
/** An older artefact says nothing of what is released now. */
export const FRESH_MS = 24 * 60 * 60_000;
/** Clocks differ; a file from further ahead than this was not written by this build's gate. */
const aheadMs = 5 * 60_000;

export interface Refusal {
  /** The file that is in the way. */
  readonly file: string;
  readonly problem: string;
}

export interface ReleaseManifest {
  readonly schema: typeof MANIFEST_SCHEMA;
  readonly version: string;
  readonly build: string;
  readonly at: string;
  readonly gates: readonly { name: string; file: string; verdict: string; at: string; sha256: string }[];
  readonly inputs: readonly GateInput[];
  /** Over the canonical JSON of all the rest. */
  readonly sha256: string;
}

export interface ReleaseRequest {
  readonly dir: string;
  readonly version: string;
  /** Gates that have to be there, by name. */
  readonly gates: readonly string[];
  readonly build: Build;
  /** Root of the checkout. */
  readonly root: string;
  readonly nowMs: number;
}

/** The manifest, or all that is in its way. */
export function releaseOf(request: ReleaseRequest): ReleaseManifest | readonly Refusal[] {
  const { dir, version, gates, build, nowMs } = request;
  const refusals: Refusal[] = [];
  const told: ReleaseManifest["gates"][number][] = [];
  const inputs = new Map<string, GateInput>();
  if (build.changed)
    refusals.push({ file: "the checkout", problem: "it has changes that are in no commit: commit or drop them" });
  const sums = sumsOf(dir);
  for (const name of gates) {
    const file = `${name}.json`;
    const path = join(dir, file);
    if (!existsSync(path)) {
      refusals.push({ file, problem: "it is missing" });
      continue;
    }
    const bytes = readFileSync(path);
    const sha256 = sha256Of(bytes);
    const artefact = readArtefact(bytes.toString("utf8"));
    const problem =
      typeof artefact === "string" ? artefact : problemOf(artefact, name, sha256, sums.get(file), request);
    if (problem !== "" || typeof artefact === "string") refusals.push({ file, problem });
    else {
      told.push({ name, file, verdict: artefact.verdict, at: artefact.at, sha256 });
      for (const input of artefact.inputs) inputs.set(`${input.in}:${input.path}`, input);
    }
  }
  refusals.push(...[...inputs.values()].flatMap((input) => inputRefusal(input, request)));
  if (refusals.length > 0) return refusals;
  const at = new Date(nowMs).toISOString();
  const body = {
    schema: MANIFEST_SCHEMA,
    version,
    build: build.id,
    at,
    gates: told,
    inputs: [...inputs.values()],
  } as const;
  return { ...body, sha256: sha256Of(canonicalJson(body)) };
}

function problemOf(
  { name, level, verdict, reasons, at, tool }: GateArtefact,
  wanted: string,
  sha256: string,
  listed: string | undefined,
  { build, nowMs }: ReleaseRequest,
): string {
  if (name !== wanted) return `it is the artefact of ${name}`;
  if (listed !== sha256)
    return `it was altered: ${SUMS_FILE} ${listed === undefined ? "does not list it" : "lists another SHA-256"}`;
  if (verdict !== "pass") return `its verdict is ${verdict}: ${reasons[0] ?? "no reason is told"}`;
  if (level !== "release") return `it is of \`rspp gate ${level}\`, a release asks for that of \`rspp gate release\``;
  if (tool.build !== build.id) return `it is of another build, ${tool.build}; this is ${build.id}`;
  const ageMs = nowMs - Date.parse(at);
  if (!(ageMs <= FRESH_MS)) return `it is stale: of ${at}, more than 24 hours ago`;
  return ageMs < -aheadMs ? `it is of the future: ${at}` : "";
}

function inputRefusal({ path, in: place, sha256 }: GateInput, { dir, root }: ReleaseRequest): Refusal[] {
  const at = place === "artifacts" ? join(dir, path) : place === "checkout" ? join(root, path) : path;
  const found = digestOf(at);
  if (found === sha256) return [];
  return [
    { file: path, problem: found === null ? "this input is missing" : "this input was altered since it was judged" },
  ];
}

function sumsOf(dir: string): Map<string, string> {
  const file = join(dir, SUMS_FILE);
  if (!existsSync(file)) return new Map();
  const lines = readFileSync(file, "utf8").split("\n");
  return new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)] as const));
}
