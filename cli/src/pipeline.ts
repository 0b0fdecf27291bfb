/** From a spec file to what a session starts with. */

import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { MonoNs } from "@rspp/base/brand";
import { CURRENT_BEHAVIOURS } from "@rspp/kernel/behaviours";
import type { TextSpan } from "@rspp/kernel/event";
import type { NodeDefinition, ProviderCandidate, Settings } from "@rspp/kernel/graph";
import { EVIDENCE_QUOTA_BYTES } from "@rspp/kernel/limits";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { compileSpec } from "@rspp/spec/compile-spec";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { parseSpec } from "@rspp/spec/parse-spec";
import { formatProblems } from "@rspp/spec/problem";
import { InputError } from "./errors.ts";

export interface LoadedPipeline {
  path: string;
  source: string;
  compiled: CompiledPipeline;
}

/** @throws InputError with every problem's file, line, column, path and remedy. */
export async function loadPipeline(path: string): Promise<LoadedPipeline> {
  let source: string;
  try {
    source = await readFile(path, "utf8");
  } catch (cause) {
    throw new InputError(
      `${path}: cannot be read (${(cause as NodeJS.ErrnoException).code ?? "error"})\n   help: name an existing PipelineSpec, e.g. pipelines/specs/voice-assistant.yaml`,
    );
  }
  const parsed = parseSpec(source, path);
  if (!parsed.ok) throw new InputError(formatProblems(parsed.error, source));
  const compiled = compileSpec(parsed.value);
  if (!compiled.ok) throw new InputError(formatProblems(compiled.error, source));
  return { path, source, compiled: compiled.value };
}

export interface Binding {
  /** Names the gateway can open now. */
  available: readonly string[];
  /** Settings laid over those of the spec, by provider name. */
  overrides?: Readonly<Record<string, Settings>>;
  /** Candidates put before those of the spec, by node kind. */
  first?: Readonly<Partial<Record<NodeDefinition["kind"], ProviderCandidate>>>;
  /** Keep only these providers, by node kind. */
  only?: Readonly<Partial<Record<NodeDefinition["kind"], string>>>;
}

/** The candidates that may serve here, in the order of the spec; the rest are left out and named. */
export function bindProviders(
  compiled: CompiledPipeline,
  binding: Binding,
): { pipeline: CompiledPipeline; unavailable: string[] } {
  const unavailable: string[] = [];
  const nodes = compiled.graph.nodes.map((node) => {
    if (node.candidates.length === 0) return node;
    const first = binding.first?.[node.kind];
    const all = first === undefined ? node.candidates : [first, ...node.candidates];
    const wanted = binding.only?.[node.kind];
    const candidates: ProviderCandidate[] = [];
    for (const candidate of all) {
      if (wanted !== undefined && candidate.provider !== wanted) continue;
      if (!binding.available.includes(candidate.provider)) unavailable.push(candidate.provider);
      else
        candidates.push({
          provider: candidate.provider,
          settings: { ...candidate.settings, ...binding.overrides?.[candidate.provider] },
        });
    }
    return { ...node, candidates };
  });
  return { pipeline: { ...compiled, graph: { ...compiled.graph, nodes } }, unavailable };
}

/** @throws InputError when a provider node is left without a candidate. */
export function requireCandidates(pipeline: CompiledPipeline, available: readonly string[]): void {
  for (const node of pipeline.graph.nodes) {
    const needs = node.kind === "stt" || node.kind === "llm" || node.kind === "tts";
    if (needs && node.candidates.length === 0) {
      throw new InputError(
        `node ${node.id}: none of its providers can serve here\n   help: available are ${available.join(", ")}; name one of them under nodes[].provider.candidates`,
      );
    }
  }
}

export interface SessionOptions {
  sessionId: string;
  tenantId?: string;
  seed?: string;
  authority: { epoch: number; incarnation: string; deadlineNs: MonoNs };
  systemPrompt?: readonly TextSpan[];
  recording?: "L0" | "L1" | "L2";
}

export function sessionConfigOf(pipeline: CompiledPipeline, options: SessionOptions): SessionConfig {
  return {
    tenantId: options.tenantId ?? "local",
    sessionId: options.sessionId,
    seed: options.seed ?? randomBytes(16).toString("hex"),
    graph: pipeline.graph,
    profile: pipeline.profile,
    policy: pipeline.policy,
    budgets: pipeline.budgets,
    provenance: pipeline.provenance,
    snapshots: {
      pipeline: `${pipeline.name}@${pipeline.version}#${pipeline.fingerprint.slice(0, 12)}`,
      profile: pipeline.profile,
      policy: pipeline.policy.id,
      routing: "local@1",
      rollout: "local@1",
      admission: "local@1",
      providerHealth: "local@1",
    },
    recording: {
      ...pipeline.recording,
      ceiling: options.recording ?? pipeline.recording.ceiling,
      evidenceQuotaBytes: EVIDENCE_QUOTA_BYTES,
    },
    authority: {
      epoch: options.authority.epoch,
      incarnation: options.authority.incarnation,
      deadlineNs: options.authority.deadlineNs,
    },
    outputLeadMs: pipeline.outputLeadMs,
    systemPrompt: options.systemPrompt ?? [],
    variables: {},
    behaviours: CURRENT_BEHAVIOURS,
    snapshotEveryTurns: 16,
    debugEvents: false,
  };
}
