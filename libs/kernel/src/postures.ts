/**
 * Degrade postures (F-048; `kernel.md` §3, §9): steps down that the pipeline declares. Within a turn they only add up; after
 * calm the next turn runs undegraded. Text only (F-137): a reply whose voice has failed goes on as text, and says so.
 */
import { NS_PER_MS } from "@rspp/base/brand";
import { noteDegraded } from "./degraded.ts";
import { emit } from "./flow.ts";
import type { Settings } from "./graph.ts";
import { findTurn, type InvocationState } from "./state.ts";
import { clearTimer, type StepContext, signal, status } from "./step-context.ts";

/** One step further down, in a turn or, with 0, from the next on. False where there is none below. */
export function stepDown(cx: StepContext, number: number, reason: string): boolean {
  const { degrade } = cx.s.config.graph;
  if (degrade === undefined) return false;
  const state = cx.s.posture ?? { level: 0, causedNs: 0 };
  cx.s.posture = state;
  state.causedNs = cx.nowNs;
  const next = degrade.postures[state.level];
  if (next === undefined) return false;
  state.level += 1;
  const turn = findTurn(cx.s, number);
  if (turn?.phase === "active") turn.posture = state.level;
  const fields = { posture: next.id, level: state.level };
  signal(cx, "degrade", "budget", turn?.phase === "active" ? number : 0, reason, fields);
  noteDegraded(cx, PART, reason);
  return true;
}

const NO_SETTINGS: Settings = Object.freeze({});
const PART = "posture";
const VOICE_PART = "voice";

/** A turn is about to open: after calm it runs undegraded again. */
function liftPosture(cx: StepContext): void {
  const { posture, config } = cx.s;
  if (posture === undefined || posture.level === 0) return;
  if (cx.nowNs - posture.causedNs < (config.graph.degrade?.calmMs ?? 0) * NS_PER_MS) return;
  posture.level = 0;
  recovered(cx, PART, "calm", {});
}

function recovered(cx: StepContext, part: string, reason: string, fields: Record<string, string>): void {
  const s = cx.s;
  const at = s.degradedBy.indexOf(part);
  if (at === -1) return;
  s.degradedBy.splice(at, 1);
  s.degraded = s.degradedBy.length > 0;
  signal(cx, "recovered", "budget", 0, reason, { capability: part, ...fields });
  status(cx, "recovered");
}

/** Steps down that a turn opens with: those in force, and at least the one its policy asks for. */
export function openingLevel(cx: StepContext): number {
  const asked = cx.s.policy?.posture;
  const wanted =
    asked === undefined ? -1 : (cx.s.config.graph.degrade?.postures.findIndex(({ id }) => id === asked) ?? -1);
  return Math.max(cx.s.posture?.level ?? 0, wanted + 1);
}

/** The id of the posture a turn opens with, for its plan; absent for none. */
export function openingPosture(cx: StepContext): { posture?: string } {
  liftPosture(cx);
  const posture = cx.s.config.graph.degrade?.postures[openingLevel(cx) - 1];
  return posture === undefined ? {} : { posture: posture.id };
}

/** Settings of a node under the postures of its turn, over those it has. */
export function underPosture(cx: StepContext, number: number, node: string, settings: Settings): Settings {
  const level = findTurn(cx.s, number)?.posture ?? 0;
  if (level === 0) return settings;
  const steps = cx.s.config.graph.degrade?.postures.slice(0, level) ?? [];
  return Object.assign({}, settings, ...steps.map((step) => step.nodes[node] ?? NO_SETTINGS)) as Settings;
}

/** F-137: the voice is gone for this turn, its words reach the caller as text. False where the pipeline does not want that. */
export function goTextOnly(
  cx: StepContext,
  number: number,
  index: number,
  inv: InvocationState | null,
  error: string,
): boolean {
  const { graph } = cx.s.config;
  const turn = findTurn(cx.s, number);
  const node = turn?.run.nodes[index];
  if (graph.degrade?.textOnly !== true || turn?.phase !== "active") return false;
  if (node?.kind !== "tts" || node.textOnly === true) return false;
  node.textOnly = true;
  node.invocation = 0;
  turn.textFrom = inv === null ? 0 : (inv.clauses[0]?.segment ?? turn.segments.length);
  clearTimer(cx, `first_output:${number}`);
  clearTimer(cx, `first_output_warning:${number}`);
  if (noteDegraded(cx, VOICE_PART, "text_only"))
    signal(cx, "degraded", "budget", 0, "text_only", {
      capability: VOICE_PART,
      node: graph.nodes[index]?.id ?? "",
      error,
    });
  if (node.endsAwaited === 0) {
    node.ended = true;
    emit(cx, turn.run, index, "audio", { type: "end" }, cx.inputSeq);
  }
  return true;
}

/** A voice has done its work again. */
export function voiceIsBack(cx: StepContext, node: string): void {
  recovered(cx, VOICE_PART, "node_answers_again", { node });
}

/** How much of the conversation the model is told: all, or the `history_parts` of the context's posture. */
export function historyUnderPosture(cx: StepContext, number: number, index: number): number {
  const parts = underPosture(cx, number, cx.s.config.graph.nodes[index]?.id ?? "", NO_SETTINGS).history_parts;
  return typeof parts === "number" ? parts : Number.POSITIVE_INFINITY;
}
