import { asMonoNs, msToNs } from "@rspp/base/brand";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { testConfig } from "@rspp/kernel/testing/harness";
import { sessionTexts } from "@rspp/spec/session-texts";
import type { SimProcess } from "./process.ts";
import type { World } from "./world.ts";

/** What the session's pipeline says by itself, and the policy it has. */
export function textsOf({
  pipeline,
}: World): Pick<SessionConfig, "systemPrompt" | "spoken"> & Partial<SessionConfig> & { texts: Record<number, string> } {
  if (pipeline === null) return { systemPrompt: [], texts: {} };
  const { systemPrompt, spoken, texts } = sessionTexts(pipeline);
  return { systemPrompt, ...(spoken === undefined ? {} : { spoken }), texts: { ...texts }, policy: pipeline.policy };
}

export function configOf(
  world: World,
  proc: SimProcess,
  sessionId: string,
  epoch: number,
  graph: SessionConfig["graph"],
  deadlineNs: number,
): SessionConfig {
  const base = testConfig(graph);
  return testConfig(graph, {
    sessionId,
    seed: `${world.seed}`,
    authority: {
      epoch,
      incarnation: "store-1",
      deadlineNs: asMonoNs(deadlineNs || proc.clock.nowNs() + msToNs(3_600_000)),
    },
    policy: { ...base.policy, ...world.policy },
    recording: { ...base.recording, ceiling: world.level },
    budgets: { turnFirstOutputMs: 1_500, nodeSoftMs: 400, providerAttemptMs: 450, cancelGraceMs: 75 },
  });
}
