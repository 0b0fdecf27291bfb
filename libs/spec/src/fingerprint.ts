/** Two specs that execute alike have one fingerprint (F-082): comments, metadata, names and sources have no part in it. */
import { canonicalJson } from "@rspp/base/canonical-json";
import { sha256Utf8Hex } from "@rspp/base/sha256";
import { resilienceExecuted } from "./compile-resilience.ts";
import type { CompiledPipeline } from "./compiled.ts";

const FORMAT = "rspp/pipeline-fingerprint/v1";

/** SHA-256, 64 hex digits. Default and written-out values count alike; the order of nodes, edges and candidates counts. */
export function compiledFingerprint(compiled: Omit<CompiledPipeline, "fingerprint">): string {
  const { policy, graph } = compiled;
  const edges = graph.edges.map(({ buffer, ...edge }) => ({ ...edge, buffer: { ...buffer, source: undefined } }));
  const executed = {
    format: FORMAT,
    profile: compiled.profile,
    nodes: graph.nodes,
    edges,
    policy: { ...policy, id: undefined },
    budgets: compiled.budgets,
    ...resilienceExecuted(graph),
    recording: { ceiling: compiled.recording.ceiling },
    outputLeadMs: compiled.outputLeadMs,
    ...(compiled.variables === undefined ? {} : { variables: compiled.variables }),
    greeting: compiled.greeting,
    systemPrompt: compiled.systemPrompt,
    spoken: compiled.spoken,
  };
  return sha256Utf8Hex(canonicalJson(executed));
}
