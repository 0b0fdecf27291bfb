/** A spec while it is being written. */
import type { EdgeDocument, NodeDocument } from "@rspp/spec/spec";
import type { Rng } from "./rng.ts";

/** The part that speaks, where it is to be a module (F-019). */
export interface VoiceModule {
  words: string;
  firstMinChars: number;
  candidates: readonly string[];
  second: boolean;
}

export interface Draft {
  rng: Rng;
  nodes: NodeDocument[];
  edges: EdgeDocument[];
  next: number;
  module: VoiceModule | null;
  /** Id of the node that speaks. */
  voice: string;
}

export function newDraft(rng: Rng): Draft {
  return { rng, nodes: [], edges: [], next: 1, module: null, voice: "tts" };
}

export function add(draft: Draft, node: Omit<NodeDocument, "id"> & { id?: string }): string {
  const id = node.id ?? `n${draft.next}`;
  draft.next += 1;
  draft.nodes.push({ ...node, id });
  return id;
}

export function join(draft: Draft, from: string, to: string, over: Partial<EdgeDocument> = {}): void {
  draft.edges.push({ id: `e${draft.edges.length + 1}`, from, to, ...over });
}

/** So many text nodes, one behind the other. @returns the port they end at. */
export function chain(
  draft: Draft,
  from: string,
  nodes: number,
  draw: (rng: Rng) => Omit<NodeDocument, "id">,
  condition?: string,
): string {
  let at = from;
  for (let n = 0; n < nodes; n++) {
    const id = add(draft, draw(draft.rng));
    join(draft, at, `${id}.text`, n === 0 && condition !== undefined ? { condition } : {});
    at = `${id}.text`;
  }
  return at;
}
