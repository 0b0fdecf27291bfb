/** Which graph a seed runs: the assistant, or one of many with text nodes (F-010). */
import type { GraphDefinition } from "@rspp/kernel/graph";
import { assistantGraph } from "@rspp/kernel/testing/harness";
import { randomTextGraph } from "@rspp/kernel/testing/text-graphs";
import { randomOf } from "@rspp/kernel/testing/world";
import type { Rng } from "./rng.ts";

const textGraphPercent = 25;

/** `settings` are drawn from the world's own stream, whatever the graph; the graph from its own. */
export function drawGraph(settings: Rng, graph: Rng, speculateMs: number): GraphDefinition {
  const endpointing = { speculate_ms: speculateMs, first_min_chars: settings.pick([4, 12, 24]) };
  if (!graph.chance(textGraphPercent))
    return assistantGraph({ llm: ["sim/llm", "sim/llm-b"], tts: ["sim/tts", "sim/tts-b"], endpointing });
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
