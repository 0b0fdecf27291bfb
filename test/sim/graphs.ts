/** Which pipeline a seed runs: the assistant, one of many with text nodes (F-010), or any legal one that a spec can say. */
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { SessionPolicy } from "@rspp/kernel/session-config";
import { assistantGraph } from "@rspp/kernel/testing/harness";
import { randomTextGraph } from "@rspp/kernel/testing/text-graphs";
import { randomOf } from "@rspp/kernel/testing/world";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { Rng } from "./rng.ts";
import { drawPipeline } from "./spec-graphs.ts";

const textGraphPercent = 15;
const specPercent = 60;

/** What a session of the run is made of, beyond what the simulator sets itself. */
export interface Drawn {
  graph: GraphDefinition;
  /** Where a spec was drawn: what its compiler made of it. */
  pipeline: CompiledPipeline | null;
}

/** `settings` are drawn from the world's own stream, whatever the graph; the graph from its own. */
export function drawGraph(settings: Rng, graph: Rng, speculateMs: number, policy: Partial<SessionPolicy>): Drawn {
  const kind = graph.float(0, 100);
  if (kind < specPercent) {
    const pipeline = drawPipeline(graph.fork("spec"), speculateMs, {
      second_proposal: policy.secondProposal ?? "queue",
      hold_on_candidate: policy.holdOnCandidate ?? true,
      speculation: policy.speculation ?? false,
      final_wait_ms: policy.finalWaitMs ?? 400,
      late_events: graph.pick(["drop", "remap", "diagnose"] as const),
      history_parts_max: graph.int(12, 40),
    });
    return { graph: pipeline.graph, pipeline };
  }
  return { graph: drawKnown(settings, graph, speculateMs, kind < specPercent + textGraphPercent), pipeline: null };
}

function drawKnown(settings: Rng, graph: Rng, speculateMs: number, textNodes: boolean): GraphDefinition {
  const endpointing = { speculate_ms: speculateMs, first_min_chars: settings.pick([4, 12, 24]) };
  if (!textNodes) return assistantGraph({ llm: ["sim/llm", "sim/llm-b"], tts: ["sim/tts", "sim/tts-b"], endpointing });
  const drawn = randomTextGraph(randomOf(graph.int(0, 1_000_000)));
  const nodes = drawn.nodes.map((node) =>
    node.kind === "endpointing" ? { ...node, settings: { ...node.settings, speculate_ms: speculateMs } } : node,
  );
  return { ...drawn, nodes };
}

/** Whether the caller of this graph may key in digits. */
export function takesDigits(graph: GraphDefinition): boolean {
  return graph.nodes.some(({ kind }) => kind === "dtmf");
}
