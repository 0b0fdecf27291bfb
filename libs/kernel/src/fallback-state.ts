/** Which node stands in for which in one turn (F-133). Made when a fallback is taken, gone with its turn. */
export type StandIn =
  /** On the node that failed: index of the one that took over. */
  | { role: "replaced"; by: number }
  /** On the one that took over: for which node, and why; the reason picks what a canned reply says. */
  | { role: "stands_in"; for: number; reason: string };

/** Why a fallback is taken: the outcome of the last invocation, or what became of the node. */
export const FALLBACK_REASONS = [
  "timeout",
  "overload",
  "unauthorized",
  "disconnect",
  "safety_block",
  "empty",
  "cancelled",
  "error",
  "no_candidate",
  "node_timeout",
  "node_failure",
  "budget_exhausted",
  "watermark_fallback",
] as const;
