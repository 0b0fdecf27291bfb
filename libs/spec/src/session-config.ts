/** From a compiled pipeline with bound providers to what a session starts with. Pure: seed and lease are given. */
import type { MonoNs } from "@rspp/base/brand";
import { CURRENT_BEHAVIOURS } from "@rspp/kernel/behaviours";
import type { TextSpan } from "@rspp/kernel/event";
import { EVIDENCE_QUOTA_BYTES } from "@rspp/kernel/limits";
import type { SessionConfig, SnapshotRefs } from "@rspp/kernel/session-config";
import type { CompiledPipeline } from "./compiled.ts";
import { type RecordingChoice, sampleRecording } from "./recording-sample.ts";

export interface SessionOptions {
  sessionId: string;
  /** Default `local`. */
  tenantId?: string;
  /** What the session's pseudo-random choices start from. */
  seed: string;
  authority: { epoch: number; incarnation: string; deadlineNs: MonoNs };
  /** Default none. */
  systemPrompt?: readonly TextSpan[];
  /** Default none; as of `sessionTexts`. */
  spoken?: NonNullable<SessionConfig["spoken"]>;
  /** Default the pipeline's ceiling. */
  recording?: "L0" | "L1" | "L2";
  /** Default none. */
  variables?: SessionConfig["variables"];
  /** Control-plane versions in force, over those of one process, `local@1`. */
  snapshots?: Partial<SnapshotRefs>;
  /** Default false. */
  debugEvents?: boolean;
}

export function sessionConfigOf(pipeline: CompiledPipeline, options: SessionOptions): SessionConfig {
  const { epoch, incarnation, deadlineNs } = options.authority;
  return {
    tenantId: options.tenantId ?? "local",
    sessionId: options.sessionId,
    seed: options.seed,
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
      ...options.snapshots,
    },
    recording: { ...recordingOf(pipeline, options), evidenceQuotaBytes: EVIDENCE_QUOTA_BYTES },
    authority: { epoch, incarnation, deadlineNs },
    outputLeadMs: pipeline.outputLeadMs,
    systemPrompt: options.systemPrompt ?? [],
    ...(options.spoken === undefined ? {} : { spoken: options.spoken }),
    variables: options.variables ?? {},
    behaviours: CURRENT_BEHAVIOURS,
    snapshotEveryTurns: 16,
    debugEvents: options.debugEvents ?? false,
  };
}

/** A level that was asked for is no matter of chance. */
function recordingOf(
  pipeline: CompiledPipeline,
  { tenantId = "local", sessionId, recording }: SessionOptions,
): RecordingChoice {
  const { policyId, ceiling } = pipeline.recording;
  if (recording !== undefined) return { policyId, ceiling: recording };
  return sampleRecording(pipeline, { tenantId, sessionId });
}
