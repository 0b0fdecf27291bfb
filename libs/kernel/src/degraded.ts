/**
 * What keeps a session degraded (`kernel.md` §6, §13): each part that failed is named once, and once when it works again.
 * The session is degraded while any is left.
 */
import { type StepContext, signal, status } from "./step-context.ts";

/** `part` is a node id, or what else failed. False when that is known already. */
export function noteDegraded(cx: StepContext, part: string, reason: string): boolean {
  const s = cx.s;
  if (s.degradedBy.includes(part)) return false;
  s.degradedBy.push(part);
  s.degraded = true;
  status(cx, reason);
  return true;
}

/** A node failed its session: told, with its reason. */
export function degradeNode(cx: StepContext, node: string, reason: string): void {
  if (noteDegraded(cx, node, reason)) signal(cx, "degraded", "budget", 0, reason, { node }, false);
}

/** The node has done its work again. */
export function recoverNode(cx: StepContext, node: string): void {
  const s = cx.s;
  const at = s.degradedBy.indexOf(node);
  if (at === -1) return;
  s.degradedBy.splice(at, 1);
  s.degraded = s.degradedBy.length > 0;
  signal(cx, "recovered", "budget", 0, "node_answers_again", { node }, false);
  status(cx, "recovered");
}
