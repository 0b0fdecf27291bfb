import { ringAt } from "@rspp/base/ring";
import type { EdgeState } from "@rspp/kernel/edge-buffer";
import type { Effect } from "@rspp/kernel/effect";
import type { KernelEvent } from "@rspp/kernel/event";
import type { Batch } from "@rspp/kernel/input";
import type { SessionState } from "@rspp/kernel/state";
import type { Life } from "./life.ts";
import type { Trace } from "./trace.ts";

interface Watched {
  index: number;
  refs: number[];
  lost: number;
}

/**
 * What the edge to the detector loses of the caller's audio, by payload, where it is of a sync group: notices name sequences,
 * which nobody else knows. Told where it is known without doubt: the edge's own count must be the same.
 */
export class EdgeWatch {
  readonly #trace: Trace;
  readonly #edges = new Map<Life, Watched | null>();

  constructor(trace: Trace) {
    this.#trace = trace;
  }

  before(life: Life, state: SessionState): void {
    const watched = this.#of(life);
    const edge = state.run.edges[watched?.index ?? -1];
    if (watched === null || edge === null || edge === undefined) return;
    watched.refs = refsOf(edge);
    watched.lost = lostOf(edge);
  }

  /** Call after the step's effects were told: what was given on is known then. */
  after(life: Life, state: SessionState, batch: Batch, effects: readonly Effect[]): void {
    const watched = this.#of(life);
    const edge = state.run.edges[watched?.index ?? -1];
    if (watched === null || edge === null || edge === undefined) return;
    const lost = lostOf(edge) - watched.lost;
    if (lost === 0) return;
    const kept = new Set(refsOf(edge));
    for (const effect of effects) if (effect.type === "node_event") kept.add(effect.payload.ref);
    const fresh = offered(batch).filter((ref) => !kept.has(ref));
    const refs = [...watched.refs.filter((ref) => !kept.has(ref)), ...fresh];
    if (refs.length === lost) this.#trace.tell({ kind: "edge_lost", life: life.id, refs, fresh });
  }

  #of(life: Life): Watched | null {
    const known = this.#edges.get(life);
    if (known !== undefined) return known;
    const { edges, nodes } = life.config.graph;
    const detector = nodes.find(({ kind }) => kind === "vad")?.id;
    const index = edges.findIndex(({ to, buffer }) => to.node === detector && buffer.sync !== undefined);
    const made = index === -1 ? null : { index, refs: [], lost: 0 };
    this.#edges.set(life, made);
    return made;
  }
}

function offered({ inputs }: Batch): number[] {
  return inputs.flatMap(({ body }) => {
    if (body.type === "audio") return [body.payload.ref];
    return body.type === "node_emitted" && body.body.type === "audio" ? [body.body.payload.ref] : [];
  });
}

function lostOf({ dropped, evicted }: EdgeState): number {
  return dropped + evicted;
}

function refsOf({ queue }: EdgeState): number[] {
  const refs: number[] = [];
  for (let i = 0; i < queue.size; i++) {
    const { body } = ringAt(queue, i) as KernelEvent;
    if (body.type === "audio") refs.push(body.payload.ref);
  }
  return refs;
}
