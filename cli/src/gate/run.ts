/** Runs the gates of one level, one after another, and leaves an artefact of each. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { GateSession } from "@rspp/replay/gates/facts";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { usageError } from "../errors.ts";
import { openSpool } from "../timeline/source.ts";
import {
  digestOf,
  GATE_SCHEMA,
  type GateArtefact,
  type GateInput,
  type GateOutcome,
  type Level,
  sealed,
  writeArtefacts,
} from "./artefact.ts";
import type { Build } from "./build.ts";
import type { Gate, GateContext } from "./context.ts";
import { sessionsOf } from "./recordings.ts";
import { simulateCalls } from "./simulated.ts";

export interface GateRequest {
  readonly level: Level;
  readonly gates: readonly Gate[];
  readonly root: string;
  readonly build: Build;
  /** Where artefacts go. */
  readonly dir: string;
  /** Folders of recordings, or session ids of `data`; empty: simulated calls are judged. */
  readonly recordings: readonly string[];
  readonly data: string;
  readonly seeds: number;
  readonly wallMs: () => number;
  /** Told before each gate, and after it. */
  readonly onGate: (gate: Gate, artefact: GateArtefact | null) => void;
}

const SIMULATED_SEEDS = [1, 2, 3, 4];
const SIMULATED_SEEDS_FULL = Array.from({ length: 16 }, (_, i) => i + 1);

/** @throws InputError, CommandError for recordings that are not there. */
export async function runGates(request: GateRequest): Promise<GateArtefact[]> {
  const { level, gates, build, dir, wallMs } = request;
  const context = await contextOf(request);
  const artefacts: GateArtefact[] = [];
  for (const gate of gates) {
    request.onGate(gate, null);
    const startedMs = performance.now();
    const outcome = await outcomeOf(gate, context);
    const { name, features } = gate;
    const artefact = sealed({
      ...{ schema: GATE_SCHEMA, name, features, level, ...outcome },
      tool: { name: "rspp", version: build.version, build: build.id },
      at: new Date(wallMs()).toISOString(),
      duration_ms: Math.round(performance.now() - startedMs),
    });
    artefacts.push(artefact);
    request.onGate(gate, artefact);
  }
  writeArtefacts(dir, artefacts);
  return artefacts;
}

/** A gate that breaks has not passed. */
async function outcomeOf(gate: Gate, context: GateContext): Promise<GateOutcome> {
  try {
    return await gate.run(context);
  } catch (failure) {
    const reason = failure instanceof Error ? failure.message : String(failure);
    return { verdict: "fail", checks: [], figures: {}, reasons: [`the gate broke: ${reason}`], inputs: [] };
  }
}

async function contextOf(request: GateRequest): Promise<GateContext> {
  const { level, root, dir, seeds, recordings } = request;
  const store = await simulateCalls(level === "quick" ? SIMULATED_SEEDS : SIMULATED_SEEDS_FULL);
  const all = sessionsOf(store, [], "memory");
  // The baseline is that of the few: their figures do not depend on the level.
  const simulated = all.slice(0, SIMULATED_SEEDS.length);
  const base = { root, level, seeds, simulated };
  if (recordings.length > 0) return { ...base, ...given(request) };
  const kept = keep(store, join(dir, "recordings/simulated/spool"));
  const input: GateInput = { path: "recordings/simulated", in: "artifacts", sha256: kept };
  return { ...base, sessions: all, recordings: [input], recordingPaths: [join(dir, "recordings/simulated")] };
}

/** Beside the artefacts, so that what was judged can be looked at. */
function keep(store: SpoolStore, folder: string): string {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const segment of store.list()) writeFileSync(join(folder, segment), store.read(segment));
  return digestOf(join(folder, "..")) ?? "";
}

function given({ recordings, data }: GateRequest): Pick<GateContext, "sessions" | "recordings" | "recordingPaths"> {
  const folders = recordings.filter((place) => existsSync(join(place, "spool")));
  const ids = recordings.filter((place) => !folders.includes(place));
  const lost = ids.filter((place) => existsSync(place));
  if (lost.length > 0)
    throw usageError(`${lost[0]} holds no recordings`, "name a data folder, which has a `spool` in it");
  const sessions: GateSession[] = folders.flatMap((folder) => sessionsOf(openSpool(folder), [], folder));
  if (ids.length > 0) sessions.push(...sessionsOf(openSpool(data), ids, data));
  const paths = [...folders, ...(ids.length > 0 ? [data] : [])].map((folder) => resolve(folder, "spool"));
  const inputs = paths.map((path): GateInput => ({ path, in: "machine", sha256: digestOf(path) ?? "" }));
  return { sessions, recordings: inputs, recordingPaths: paths };
}
