/** Graphs written as specs are, for tests: nodes and `node.port -> node.port`. */
import { type GraphDefinition, type NodeDefinition, portsOf } from "../graph.ts";
import { node } from "./harness.ts";

export function graphOf(nodes: readonly NodeDefinition[], edges: readonly string[]): GraphDefinition {
  return {
    pipelineVersion: "test-words@1",
    nodes,
    edges: edges.map((edge) => {
      const [from, to] = edge.split("->").map((end) => {
        const [id = "", port = ""] = end.trim().split(".");
        return { node: id, port };
      });
      const source = nodes.find((n) => n.id === from?.node);
      const type = portsOf(source ?? { kind: "output" }).outputs.find((port) => port.name === from?.port)?.type;
      if (from === undefined || to === undefined || type === undefined) throw new Error(`no such port: ${edge}`);
      const live = source?.scope === "session" && type !== "utterance";
      const buffer = {
        maxItems: live ? 100 : 6_000,
        maxBytes: 8 << 20,
        maxQueueMs: live ? 1_000 : 120_000,
        strategy: live ? (type === "text" ? ("coalesce" as const) : ("drop_oldest" as const)) : ("block" as const),
        maxBlockMs: live ? 0 : 2_000,
        source: "test",
      };
      return { id: edge.replaceAll(" ", ""), from, to, type, buffer };
    }),
  };
}

/** What hears, up to the endpoint. */
export const EAR_NODES: readonly NodeDefinition[] = [
  node("caller", "ingress", "session"),
  node("vad", "vad", "session"),
  node("stt", "stt", "session", {}, ["sim/stt"]),
  node("endpointing", "endpointing", "session", {
    min_speech_ms: 60,
    endpoint_silence_ms: 100,
    candidate_silence_ms: 60,
  }),
];
export const EAR_EDGES: readonly string[] = [
  "caller.audio -> vad.audio",
  "caller.audio -> stt.audio",
  "vad.activity -> endpointing.activity",
];
/** What speaks, from clauses on. */
export const VOICE_NODES: readonly NodeDefinition[] = [
  node("segmenter", "segmenter", "turn"),
  node("tts", "tts", "turn", {}, ["sim/tts"]),
  node("speaker", "output", "turn"),
];
export const VOICE_EDGES: readonly string[] = ["segmenter.text -> tts.text", "tts.audio -> speaker.audio"];
export const MODEL_NODES: readonly NodeDefinition[] = [
  node("context", "context", "turn"),
  node("llm", "llm", "turn", {}, ["sim/llm", "sim/llm-b"]),
];

/** An assistant whose reply goes through `between`, a chain of text nodes of a turn, before it is spoken. */
export function guardedGraph(between: readonly NodeDefinition[]): GraphDefinition {
  const chain = ["llm", ...between.map((n) => n.id), "segmenter"];
  return graphOf(
    [...EAR_NODES, ...MODEL_NODES, ...between, ...VOICE_NODES],
    [
      ...EAR_EDGES,
      "stt.text -> endpointing.text",
      "endpointing.utterance -> context.utterance",
      "context.messages -> llm.messages",
      ...chain.slice(1).map((id, i) => `${chain[i] ?? ""}.text -> ${id}.text`),
      ...VOICE_EDGES,
    ],
  );
}
