/**
 * Watermarks, credits, cadence and waits of edges that have them (`kernel.md` §5; F-053, F-143 to F-145). Called by `flow.ts`
 * after an offer and a take; what it cannot do itself it answers.
 */
import { NS_PER_MS } from "@rspp/base/brand";
import { COMMITS_AT_ADMISSION, isOn } from "./behaviours.ts";
import { type EdgeState, edgeLevel } from "./edge-buffer.ts";
import type { EdgeExtras } from "./edge-extras.ts";
import { type KernelEvent, LANE_NAMES } from "./event.ts";
import type { EdgeDefinition } from "./graph.ts";
import { EDGE_WAIT_DELIVERIES_MAX } from "./limits.ts";
import { findTurn, type GraphRun } from "./state.ts";
import { type StepContext, signal } from "./step-context.ts";
import { turnClosed } from "./turn-lifecycle.ts";

/**
 * Looks at the level; a crossing is told, once up and once down, and starts or ends its action. True where a mark that held
 * events back does so no more.
 */
export function checkPressure(
  cx: StepContext,
  run: GraphRun,
  e: number,
  edge: EdgeState,
  x: EdgeExtras,
  definition: EdgeDefinition,
): boolean {
  const { watermark } = definition.buffer;
  if (watermark === undefined) return false;
  const level = edgeLevel(edge, definition.buffer);
  const high = !x.pressed && level >= watermark.high;
  if (!high && !(x.pressed && level <= watermark.low)) return false;
  x.pressed = high;
  const { action } = watermark;
  if (isSilent(cx, run)) return action === "block" && !high;
  const lane = LANE_NAMES[1];
  const fields = { edge: definition.id, lane, action, level: Math.round(level * 100) };
  signal(cx, "watermark", "edge", run.turn, high ? "high" : "low", fields, false);
  if (action === "degrade" || action === "fallback") {
    const once = run.turn === 0 || !x.acted;
    if (once) {
      cx.pressured ??= [];
      cx.pressured.push({ turn: run.turn, edge: e, high });
    }
    x.acted = true;
  }
  if (action === "block" && high && !edge.xoff) {
    edge.xoff = true;
    if (usesSignals(definition))
      signal(cx, "flow_xoff", "flow_control", run.turn, "watermark", { edge: definition.id, lane }, false);
  }
  return action === "block" && !high;
}

/** Whether the producer is told to stop and to go on; under `credit` it stops for want of credits. */
export function usesSignals({ buffer }: EdgeDefinition): boolean {
  return buffer.flow !== "credit";
}

/** A turn that has its terminal has no producer left to tell: only delivery is told of it (`kernel.md` §2). */
export function hasEnded(cx: StepContext, { turn }: GraphRun): boolean {
  return turn !== 0 && turnClosed(findTurn(cx.s, turn)?.phase ?? "active");
}

/** Of such a turn neither pressure nor flow is told any more; sessions of old recordings told of both. */
export function isSilent(cx: StepContext, run: GraphRun): boolean {
  return isOn(cx.s.config.behaviours, COMMITS_AT_ADMISSION) && hasEnded(cx, run);
}

/**
 * Credits given back for what was taken, in halves of the window or once nothing is left to take; the first grant is the
 * window itself. True where there are new ones.
 */
export function grantCredits(
  cx: StepContext,
  run: GraphRun,
  edge: EdgeState,
  x: EdgeExtras,
  definition: EdgeDefinition,
): boolean {
  const { credits } = definition.buffer;
  if (credits === undefined) return false;
  const first = !x.granted;
  if (!first && (x.owed === 0 || (x.owed < Math.ceil(credits / 2) && edge.queue.size > 0))) return false;
  const amount = first ? credits : x.owed;
  x.granted = true;
  if (!first) x.owed = 0;
  if (hasEnded(cx, run)) return !first;
  signal(cx, "credit_grant", "flow_control", run.turn, "", { edge: definition.id, lane: LANE_NAMES[1], amount }, false);
  return !first;
}

/** When a partial may be delivered, 0 for at once: no sooner than `coalesceMs` after the one before (F-053). */
export function cadenceDueNs(cx: StepContext, x: EdgeExtras, definition: EdgeDefinition, event: KernelEvent): number {
  const { coalesceMs } = definition.buffer;
  if (coalesceMs === undefined || x.partialNs < 0 || !isPartial(event)) return 0;
  const due = x.partialNs + coalesceMs * NS_PER_MS;
  return due <= cx.nowNs ? 0 : due;
}

export function isPartial({ body }: KernelEvent): boolean {
  return body.type === "text" && !body.final;
}

/** What a delivery tells of the edge: cadence, credits owed, and the longest wait of each window (F-054). */
export function noteDelivery(
  cx: StepContext,
  run: GraphRun,
  x: EdgeExtras,
  definition: EdgeDefinition,
  event: KernelEvent,
  sinceNs: number | undefined,
): void {
  if (isPartial(event)) x.partialNs = cx.nowNs;
  if (definition.buffer.credits !== undefined && event.body.type !== "end") x.owed += 1;
  if (sinceNs === undefined) return;
  x.waitNs = Math.max(x.waitNs, cx.nowNs - sinceNs);
  x.waits += 1;
  if (x.waits < EDGE_WAIT_DELIVERIES_MAX && event.body.type !== "end") return;
  const node = definition.to.node;
  cx.effects.push({ type: "telemetry", name: "edge_wait_ms", value: x.waitNs / NS_PER_MS, turn: run.turn, node });
  x.waitNs = 0;
  x.waits = 0;
}
