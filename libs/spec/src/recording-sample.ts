/**
 * Which sessions are recorded above L0 (F-071): drawn by the session alone, so that every instance, and a successor too,
 * draws alike. Evidence is kept of all of them (kernel.md §11).
 */
import type { RecordingConfig } from "@rspp/kernel/session-config";
import type { CompiledPipeline } from "./compiled.ts";
import { BUCKETS, bucketOf } from "./rollout/decide.ts";

const PER_PERCENT = BUCKETS / 100;

export type RecordingChoice = Omit<RecordingConfig, "evidenceQuotaBytes">;

/**
 * A larger percentage keeps every session that a smaller one kept. The policy id, which each plan and marker holds, ends
 * in `#sampled` or `#unsampled`.
 */
export function sampleRecording(
  { name, recording }: Pick<CompiledPipeline, "name" | "recording">,
  { tenantId, sessionId }: { readonly tenantId: string; readonly sessionId: string },
): RecordingChoice {
  const { policyId, ceiling, samplePercent: percent } = recording;
  if (percent === undefined || ceiling === "L0") return { policyId, ceiling };
  const bucket = bucketOf(name, "recording", JSON.stringify([tenantId, sessionId]));
  const kept = bucket < percent * PER_PERCENT;
  const sample = { percent, bucket, kept };
  if (!kept) return { policyId: `${policyId}#unsampled`, ceiling: "L0", sample };
  return { policyId: `${policyId}#sampled`, ceiling, sample };
}
