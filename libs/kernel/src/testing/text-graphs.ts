/** Random legal graphs with text nodes. For tests. */
import type { GraphDefinition, NodeDefinition } from "../graph.ts";
import { EAR_EDGES, EAR_NODES, graphOf, MODEL_NODES, VOICE_EDGES, VOICE_NODES } from "./graphs.ts";
import { node } from "./harness.ts";
import type { randomOf } from "./world.ts";

type Random = ReturnType<typeof randomOf>;

interface Draft {
  nodes: NodeDefinition[];
  edges: string[];
  next: number;
}

/** A chain of up to three text nodes after `from`; returns the output it ends in. */
function chain(d: Draft, r: Random, from: string): string {
  let at = from;
  for (let n = r.int(4); n > 0; n--) {
    const id = `n${d.next}`;
    d.next += 1;
    d.nodes.push(textNode(r, id));
    d.edges.push(`${at} -> ${id}.text`);
    at = `${id}.text`;
  }
  return at;
}

function textNode(r: Random, id: string): NodeDefinition {
  switch (r.int(4)) {
    case 0:
      return node(id, "filter", "turn", r.chance(0.5) ? { min_chars: 3 } : { drop_words: ["chilly night", "moon"] });
    case 1:
      return node(
        id,
        "translator",
        "turn",
        { target_language: "de" },
        r.chance(0.5) ? ["sim/llm"] : ["sim/llm", "sim/llm-b"],
      );
    case 2:
      return node(id, "segmenter", "turn");
    default:
      return node(id, "compliance", "turn", {
        card_numbers: "mask",
        emails: "replace",
        words: ["fox", "night and prayed"],
        words_action: (["mask", "replace", "block"] as const)[r.int(3)] ?? "mask",
      });
  }
}

/** One stream, or two that a merge or a select brings together again. */
function stream(d: Draft, r: Random, from: string): string {
  const one = chain(d, r, from);
  if (r.chance(0.5)) return one;
  const two = chain(d, r, from);
  // A junction tells its inputs apart by the nodes they come from.
  if (one === two || one.split(".")[0] === two.split(".")[0]) return one;
  const [a = "", b = ""] = [one, two].map((port) => port.split(".")[0]);
  const junction = r.chance(0.5)
    ? node("join", "merge", "turn", { rule: r.chance(0.5) ? "arrival/v1" : "timestamp/v1", wait_ms: 40, priority: [b] })
    : node("join", "select", "turn", {
        choose: [`${a}: ${r.chance(0.5) ? "language = en" : "health = degraded"}`, `${b}: otherwise`],
      });
  d.nodes.push(junction);
  d.edges.push(`${one} -> join.text`, `${two} -> join.text`);
  return "join.text";
}

export function randomTextGraph(r: Random): GraphDefinition {
  const d: Draft = { nodes: [...EAR_NODES, ...VOICE_NODES], edges: [...EAR_EDGES, ...VOICE_EDGES], next: 1 };
  if (r.chance(0.4)) {
    d.nodes.push(node("ear", "filter", "session", { drop_words: ["moon"], final_only: r.chance(0.3) }));
    d.edges.push("stt.text -> ear.text", "ear.text -> endpointing.text");
  } else d.edges.push("stt.text -> endpointing.text");
  const keypad = r.chance(0.5);
  if (keypad) d.nodes.push(node("keypad", "dtmf", "session", { max_digits: 1 + r.int(3), timeout_ms: 200 }));
  let words = "endpointing.utterance";
  if (r.chance(0.7)) {
    d.nodes.push(...MODEL_NODES);
    if (r.chance(0.3)) words = chain(d, r, words);
    d.edges.push(`${words} -> context.utterance`, "context.messages -> llm.messages");
    if (keypad) d.edges.push("keypad.utterance -> context.utterance");
    words = "llm.text";
  } else if (keypad) {
    d.nodes.push(node("both", "merge", "turn", { rule: "arrival/v1" }));
    d.edges.push("endpointing.utterance -> both.text", "keypad.utterance -> both.text");
    words = "both.text";
  }
  d.edges.push(`${stream(d, r, words)} -> segmenter.text`);
  return graphOf(d.nodes, d.edges);
}
