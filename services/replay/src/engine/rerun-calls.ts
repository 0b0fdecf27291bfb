/** Calls of a rerun: which recorded one each corresponds to, and what answers it when. */
import type { Effect } from "@rspp/kernel/effect";
import type { InputBody } from "@rspp/kernel/input";
import { spanText } from "../re-execute.ts";
import type { CallLink, RerunCursor } from "./rerun-cursor.ts";
import { type CallView, emissionDivergence, isFinal, type Recomputed, type Resimulator } from "./resimulator.ts";
import { CallKeys, type Script } from "./script.ts";

const UNRECORDED_MAX = 20;
const EXTRA_MAX = 1_000;
const DIVERGENCES_MAX = 100;

/** Takes note of an effect that is answered: pairs it with the recorded call of its key. */
export function noteOpened(
  c: RerunCursor,
  script: Script,
  effect: Effect,
  follows: number,
  keepsPushed: boolean,
): void {
  if (effect.type === "provider_cancel") return cancelled(c, script, effect.invocation);
  if (keepsPushed) notePushed(c, effect);
  const keys = new CallKeys(c.counts, c.instances);
  const found = keys.of(effect);
  if (found === null) return;
  const { key } = found;
  const id = Number(found.id.slice(found.id.indexOf(":") + 1));
  const recorded = script.calls.get(key);
  const aligned = recorded !== undefined && follows !== 0 && recorded.openBatch === follows;
  c.links[key] = { id, aligned, given: 0, over: false, opened: effect, pushed: [] };
  if (effect.type === "provider_open") c.invocations[id] = key;
  if (aligned) return;
  if (recorded === undefined) return unanswered(c, key, effect, id);
  for (const [index, { atNs, body }] of recorded.emissions.entries()) {
    c.pending.push({ atNs: c.nowNs + Math.max(0, atNs - recorded.openNs), order: c.nextOrder, key, index, body });
    c.nextOrder += 1;
  }
}

function notePushed(c: RerunCursor, effect: Effect): void {
  if (effect.type === "provider_open" || !("invocation" in effect)) return;
  c.links[c.invocations[effect.invocation] ?? ""]?.pushed.push(effect);
}

/** A call that this run cut off and the recorded one did not: its rest is not offered. */
function cancelled(c: RerunCursor, script: Script, invocation: number): void {
  const key = c.invocations[invocation] ?? "";
  const link = c.links[key];
  if (link === undefined || link.over || script.calls.get(key)?.cancelled === true) return;
  link.aligned = false;
  c.pending = c.pending.filter((one) => one.key !== key);
  push(c, key, { type: "provider_outcome", invocation, outcome: "cancelled", detail: "", usage: null });
}

function push(c: RerunCursor, key: string, body: InputBody): void {
  c.pending.push({ atNs: c.nowNs, order: c.nextOrder, key, index: -1, body });
  c.nextOrder += 1;
}

/** No recording answers it: it fails at once, and the outcome says so. */
function unanswered(c: RerunCursor, key: string, { type }: Effect, id: number): void {
  if (type === "provider_open") {
    if (c.unrecorded.length < UNRECORDED_MAX) c.unrecorded.push(key);
    const detail = "no recorded output";
    return push(c, key, { type: "provider_outcome", invocation: id, outcome: "error", detail, usage: null });
  }
  if (type === "node_open") return push(c, key, { type: "node_ready", instance: id });
  if (type === "node_cancel") return push(c, key, { type: "cancel_acked", command: id });
  push(c, key, { type: "node_done", command: id });
}

export interface EmissionContext {
  readonly c: RerunCursor;
  readonly script: Script;
  readonly texts: Map<number, string>;
  readonly resimulator: Resimulator | undefined;
  readonly batch: number;
}

/** What is offered at the position of a recorded emission: itself, or what was recomputed for it. */
export function emissionsOf(cx: EmissionContext, key: string, index: number, recorded: InputBody): InputBody[] {
  const { c, resimulator } = cx;
  const link = c.links[key];
  if (link === undefined) return [];
  if (link.over && resimulator !== undefined) {
    note(cx, recorded, null);
    return [];
  }
  const found = resimulator?.emit(viewOf(cx, key, link), link.given);
  if (found !== undefined) return recomputed(cx, key, link, recorded, found);
  c.served += 1;
  const body = given(link, recorded, null);
  // Nothing more answers it: a session has thousands of such calls.
  if (index === (cx.script.calls.get(key)?.emissions.length ?? 0) - 1 && resimulator === undefined) delete c.links[key];
  return [body];
}

function recomputed(
  cx: EmissionContext,
  key: string,
  link: CallLink,
  recorded: InputBody,
  first: Recomputed | null,
): InputBody[] {
  const out: InputBody[] = [];
  const take = (found: Recomputed, against: InputBody | null): void => {
    const body = withText(cx, found, against);
    note(cx, against, body);
    cx.c.recomputed += 1;
    out.push(given(link, body, link.given));
  };
  let found: Recomputed | null | undefined = first;
  // Before the recorded end of a call, everything that it still emits comes: those are extra ones.
  for (let extra = 0; isFinal(recorded) && found && !isFinal(found.body) && extra < EXTRA_MAX; extra++) {
    take(found, null);
    found = cx.resimulator?.emit(viewOf(cx, key, link), link.given);
  }
  if (found) take(found, recorded);
  else {
    note(cx, recorded, null);
    // A call that never ended would hold its turn for ever.
    if (isFinal(recorded)) out.push(given(link, recorded, link.given));
  }
  return out;
}

function viewOf({ script, texts }: EmissionContext, key: string, { opened, pushed }: CallLink): CallView {
  return {
    opened,
    pushed,
    textOf: (spans) => spanText(texts, spans),
    recorded: (index) => script.calls.get(key)?.emissions[index]?.body,
  };
}

function note({ c, batch }: EmissionContext, recorded: InputBody | null, found: InputBody | null): void {
  const divergence = emissionDivergence(batch, recorded, found);
  if (divergence !== null && c.divergences.length < DIVERGENCES_MAX) c.divergences.push(divergence);
}

/** A text that was recorded keeps its payload; another one is given a number of its own. */
function withText({ c, texts }: EmissionContext, { body, text }: Recomputed, recorded: InputBody | null): InputBody {
  if (body.type !== "provider_chunk") return body;
  const was = recorded?.type === "provider_chunk" ? recorded.chunk.payload : null;
  if (was !== null && (text === undefined || texts.get(was.ref) === text))
    return { ...body, chunk: { ...body.chunk, payload: was } };
  if (text === undefined) return body;
  const ref = c.nextRef;
  c.nextRef += 1;
  texts.set(ref, text);
  return { ...body, chunk: { ...body.chunk, payload: { ref, hash: "", bytes: Buffer.byteLength(text) } } };
}

/** The body with this run's numbers. @param index of a chunk that was recomputed; null: as recorded. */
function given(link: CallLink, body: InputBody, index: number | null): InputBody {
  link.given += 1;
  if (isFinal(body)) link.over = true;
  switch (body.type) {
    case "provider_chunk":
      return { ...body, invocation: link.id, index: index ?? body.index };
    case "node_emitted":
      return { ...body, command: link.id };
    case "provider_outcome":
      return { ...body, invocation: link.id };
    case "node_done":
    case "node_failed":
    case "cancel_acked":
      return { ...body, command: link.id };
    case "node_ready":
    case "node_stopped":
      return { ...body, instance: link.id };
    default:
      return body;
  }
}
