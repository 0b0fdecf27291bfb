/** Random legal buffers and conditions on the edges of a graph. For tests. */
import {
  type BufferSpec,
  type EdgeDefinition,
  type GraphDefinition,
  NODE_KINDS,
  type SyncSpec,
  type WatermarkAction,
} from "../graph.ts";
import type { FactAnswer, PredicateQuestion } from "../pure-functions.ts";
import { PREDICATE_FAILED } from "../pure-functions.ts";
import { randomTextGraph } from "./text-graphs.ts";
import type { randomOf } from "./world.ts";

type Random = ReturnType<typeof randomOf>;

const CONDITIONS = ["event.chars > 8", "event.final", "turn.number < 3", "vars.missing", "true"];

/** Stands for CEL, which is not the kernel's to import: knows `CONDITIONS` and nothing else. */
export function answerConditions({ source, attributes: { event, turn } }: PredicateQuestion): FactAnswer {
  if (source === "event.chars > 8") return event.chars > 8;
  if (source === "event.final") return event.final;
  if (source === "turn.number < 3") return turn.number < 3;
  return source === "true" ? true : PREDICATE_FAILED;
}

export function randomEdgeGraph(r: Random): GraphDefinition {
  const graph = randomTextGraph(r);
  const sync: SyncSpec = {
    group: "mic",
    policy: r.chance(0.5) ? "atomic_drop" : "drop_with_discontinuity",
    scope: r.chance(0.5) ? "plan_wide" : "edge_local",
  };
  const edges = graph.edges.map((edge): EdgeDefinition => {
    const made = r.chance(0.6) ? { ...edge, buffer: randomBuffer(r, edge, graph, sync) } : edge;
    if (edge.type === "messages" || !r.chance(0.15)) return made;
    return { ...made, condition: { source: CONDITIONS[r.int(CONDITIONS.length)] ?? "true", evaluator: "cel/1" } };
  });
  return { ...graph, edges };
}

function randomBuffer(r: Random, edge: EdgeDefinition, graph: GraphDefinition, sync: SyncSpec): BufferSpec {
  const from = graph.nodes.find(({ id }) => id === edge.from.node);
  const to = graph.nodes.find(({ id }) => id === edge.to.node);
  const text = edge.type === "text";
  const reply = to?.kind === "output";
  const host = to !== undefined && NODE_KINDS[to.kind].execution === "host";
  const strategies = ["block", "drop_newest", "drop_oldest", "latest_only", "sample", ...(text ? ["coalesce"] : [])];
  const strategy = (strategies[r.int(strategies.length)] ?? "block") as BufferSpec["strategy"];
  const maxItems = 1 + r.int(host ? 6 : 24);
  const actions: WatermarkAction[] = ["block", "drop", "degrade", "fallback", ...(text ? (["merge"] as const) : [])];
  return {
    ...edge.buffer,
    maxItems,
    strategy,
    maxBlockMs: 20 + r.int(400),
    ...(strategy === "sample" ? { sampleEvery: 2 + r.int(3) } : {}),
    ...(strategy === "coalesce" && r.chance(0.7) ? { coalesceMs: 20 + r.int(300) } : {}),
    ...(!reply && r.chance(0.4) ? { maxLatencyMs: 10 + r.int(200) } : {}),
    ...(r.chance(0.4)
      ? { flow: r.chance(0.5) ? ("credit" as const) : ("hybrid" as const), credits: 1 + r.int(maxItems) }
      : {}),
    ...(r.chance(0.5)
      ? {
          watermark: {
            high: 0.5 + r.int(5) / 10,
            low: r.int(5) / 10,
            action: actions[r.int(actions.length)] ?? "drop",
          },
        }
      : {}),
    ...(r.chance(0.3)
      ? {
          lanes: { control: "block" as const, telemetry: { strategy: "sample" as const, maxItems: 4, sampleEvery: 2 } },
        }
      : {}),
    ...(from?.kind === "ingress" && r.chance(0.6) ? { sync } : {}),
  };
}
