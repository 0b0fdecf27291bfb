/**
 * Artefacts of gates: one JSON file each, which says what was judged, by which build, when, and over which inputs. A file
 * bears the hash of its own content, and SHA256SUMS beside it those of all (`sha256sum -c` reads it).
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalJson } from "@rspp/base/canonical-json";
import type { Check } from "@rspp/replay/gates/types";

export const GATE_SCHEMA = "rspp/gate-result/v1";
export const SUMS_FILE = "SHA256SUMS";

export const LEVELS = ["quick", "full", "security", "release"] as const;
export type Level = (typeof LEVELS)[number];

/** A file or a folder that was judged; where it stands tells where to look for it again. */
export interface GateInput {
  readonly path: string;
  readonly in: "artifacts" | "checkout" | "machine";
  readonly sha256: string;
}

export interface GateOutcome {
  /** `not_run`: a tool it needs is not here; a release takes that for no pass. */
  readonly verdict: "pass" | "fail" | "not_run";
  /** What was compared with which bar. */
  readonly checks: readonly Check[];
  readonly figures: Readonly<Record<string, number>>;
  readonly reasons: readonly string[];
  readonly inputs: readonly GateInput[];
}

export interface GateArtefact extends GateOutcome {
  readonly schema: typeof GATE_SCHEMA;
  readonly name: string;
  /** Features that it stands for. */
  readonly features: readonly string[];
  readonly level: Level;
  readonly tool: { readonly name: "rspp"; readonly version: string; readonly build: string };
  /** ISO 8601. */
  readonly at: string;
  readonly duration_ms: number;
  /** Over the canonical JSON of all the rest. */
  readonly sha256: string;
}

export function sealed(body: Omit<GateArtefact, "sha256">): GateArtefact {
  return { ...body, sha256: sha256Of(canonicalJson(body)) };
}

export function writeArtefacts(dir: string, artefacts: readonly GateArtefact[]): void {
  mkdirSync(dir, { recursive: true });
  for (const one of artefacts) writeWhole(join(dir, `${one.name}.json`), `${JSON.stringify(one, null, 2)}\n`);
  const files = readdirSync(dir).filter((name) => name.endsWith(".json") && name !== MANIFEST_FILE);
  const lines = files.sort().map((name) => `${sha256Of(readFileSync(join(dir, name)))}  ${name}\n`);
  writeWhole(join(dir, SUMS_FILE), lines.join(""));
}

export const MANIFEST_FILE = "release-manifest.json";

/** Nobody reads half a file: not even one who reads while the next run writes. */
export function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.part`, text);
  renameSync(`${file}.part`, file);
}

/** The artefact in a file's text, or what is wrong with it. */
export function readArtefact(text: string): GateArtefact | string {
  let found: GateArtefact;
  try {
    found = JSON.parse(text) as GateArtefact;
  } catch {
    return "it is no JSON";
  }
  if (typeof found !== "object" || found === null || found.schema !== GATE_SCHEMA) return `it is no ${GATE_SCHEMA}`;
  const { sha256, ...body } = found;
  if (sha256Of(canonicalJson(body)) !== sha256) return "it was altered: its content has another SHA-256";
  return found;
}

export function sha256Of(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** SHA-256 of a file, or of a folder: then over the lines of its files' own. Null where there is nothing. */
export function digestOf(path: string): string | null {
  if (!existsSync(path)) return null;
  if (!statSync(path).isDirectory()) return sha256Of(readFileSync(path));
  const files = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const lines = files.map((file) => `${sha256Of(readFileSync(file))}  ${file.slice(path.length + 1)}\n`);
  return sha256Of(lines.join(""));
}
