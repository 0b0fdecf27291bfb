/** The plan of what runs outside turns: re-resolved between utterances only (`kernel.md` §2). */
import { canonicalJson } from "@rspp/base/canonical-json";
import { nextId } from "@rspp/base/random";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import type { StepContext } from "./step-context.ts";

/** Resolves the session plan when none stands, or a snapshot or the epoch has changed since. Called where no utterance runs. */
export function ensureSessionPlan(cx: StepContext): void {
  const { s } = cx;
  const p = s.prelude;
  const stale = p.planStale || p.planEpoch !== s.authority.epoch;
  if (!stale || p.utterance.phase !== "none") return;
  const nodes = s.config.graph.nodes.filter((node) => node.scope === "session");
  const plan = {
    schema: "session_plan/v1",
    pipelineVersion: s.config.graph.pipelineVersion,
    profile: s.config.profile,
    graphHash: s.graphHash,
    nodes: nodes.map((node) => ({
      id: node.id,
      kind: node.kind,
      candidates: (s.policy?.bindings[node.id] ?? node.candidates).map((c) => c.provider),
    })),
    policy: s.config.policy,
    snapshots: s.snapshots,
    epoch: s.authority.epoch,
  };
  const hash = sha256Utf8Hex(canonicalJson(plan));
  p.planStale = false;
  p.planEpoch = s.authority.epoch;
  if (hash === p.planHash) return;
  p.planId = nextId(s.ids, "splan");
  p.planHash = hash;
  cx.effects.push({ type: "record", record: { kind: "session_plan", planId: p.planId, hash, plan } });
}
