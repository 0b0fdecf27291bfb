/** Graphs whose one edge has the buffer a test is about. For tests. */
import type { Effect } from "../effect.ts";
import type { BufferSpec, GraphDefinition } from "../graph.ts";
import type { InputBody } from "../input.ts";
import { assistantGraph, KernelHarness, node, testConfig } from "./harness.ts";

const plain: BufferSpec = {
  maxItems: 4,
  maxBytes: 1 << 20,
  maxQueueMs: 60_000,
  strategy: "drop_oldest",
  maxBlockMs: 0,
  source: "test",
};

/** A caller whose audio goes to a host node that answers only when it is told to, over edge `e1`. */
export function busyEdge(over: Partial<BufferSpec>): KernelHarness {
  const graph: GraphDefinition = {
    pipelineVersion: "busy@1",
    nodes: [node("caller", "ingress", "session"), node("vad", "vad", "session"), node("ep", "endpointing", "session")],
    edges: [
      {
        id: "e1",
        from: { node: "caller", port: "audio" },
        to: { node: "vad", port: "audio" },
        type: "audio",
        buffer: { ...plain, ...over },
      },
      {
        id: "e2",
        from: { node: "vad", port: "activity" },
        to: { node: "ep", port: "activity" },
        type: "activity",
        buffer: plain,
      },
    ],
  };
  const h = new KernelHarness(testConfig(graph));
  h.connect();
  return h;
}

/** The assistant with other buffers on some of its edges, by id (`e1` … `e9`, see `assistantGraph`). */
export function assistantWith(
  buffers: Readonly<Record<string, Partial<BufferSpec>>>,
  settings: Parameters<typeof assistantGraph>[0] = {},
): KernelHarness {
  const graph = assistantGraph(settings);
  const edges = graph.edges.map((edge) => ({ ...edge, buffer: { ...edge.buffer, ...buffers[edge.id] } }));
  const h = new KernelHarness(testConfig({ ...graph, edges }));
  h.connect();
  return h;
}

export interface Told {
  signal: string;
  reason: string;
  atMs: number;
  fields: Readonly<Record<string, string | number>>;
}

/** Signals so far by name, with their instants. */
export function toldOf(h: KernelHarness, ...names: string[]): Told[] {
  return h.log.flatMap(({ atNs, effect }) =>
    effect.type === "signal" && names.includes(effect.event.signal)
      ? [{ signal: effect.event.signal, reason: effect.event.reason, atMs: atNs / 1e6, fields: effect.event.fields }]
      : [],
  );
}

const asked = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === "node_event" ? [effect] : []));

/** Lets the busy node answer; the media times, in ms, of what it was asked next, until nothing is left. */
export function drain(h: KernelHarness, most = Number.POSITIVE_INFINITY): number[] {
  const seen: number[] = [];
  for (let n = 0; n < most; n++) {
    const command = Object.keys(h.state.commands)[0];
    if (command === undefined) break;
    const done: InputBody = { type: "node_done", command: Number(command) };
    const [next] = asked(h.feed(done));
    if (next === undefined) break;
    seen.push(next.mediaUs / 1_000);
  }
  return seen;
}

/** So many caller frames, 20 ms apart. */
export function frames(h: KernelHarness, count: number): void {
  for (let i = 0; i < count; i++) {
    h.advance(20);
    h.feed(h.frame());
  }
}

/** Sum of the notices' ranges, by reason: how many sequences were declared gone. */
export function noticed(h: KernelHarness, edge = "e1"): Record<string, number> {
  const out: Record<string, number> = {};
  for (const { reason, fields } of toldOf(h, "drop_notice")) {
    if (fields.edge !== edge) continue;
    out[reason] = (out[reason] ?? 0) + 1;
  }
  return out;
}
