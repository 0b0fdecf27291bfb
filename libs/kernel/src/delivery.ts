/**
 * The delivery machine of one turn's output: none -> accepted -> playing -> completed | cancelled | lost (kernel.md §2).
 * Its reports are legal after `close` until it settles.
 */

export const DELIVERY_PHASES = ["none", "accepted", "playing", "completed", "cancelled", "lost"] as const;
export type DeliveryPhase = (typeof DELIVERY_PHASES)[number];

/**
 * What is reported. All but the last come from the adapter; `empty` is the kernel's own word for a committed turn that had
 * no output (a control-only turn), `lost` also its word when DELIVERY_SETTLE_MS has passed.
 */
export const DELIVERY_REPORTS = ["accepted", "started", "progress", "completed", "cancelled", "lost", "empty"] as const;
export type DeliveryReportState = (typeof DELIVERY_REPORTS)[number];

export interface Delivery {
  phase: DeliveryPhase;
  /** Media time of the turn's output that was really played, microseconds; never falls. */
  playedUs: number;
}

export type DeliveryMove =
  | { readonly ok: true; readonly from: DeliveryPhase; readonly to: DeliveryPhase; readonly settled: boolean }
  | { readonly ok: false; readonly refusal: string };

export function deliveryCreate(): Delivery {
  return { phase: "none", playedUs: 0 };
}

/** Whether nothing more can be heard of this turn. */
export function settled(d: Delivery): boolean {
  return d.phase === "completed" || d.phase === "cancelled" || d.phase === "lost";
}

/**
 * Applies a report in place. An illegal one, any after settlement included, changes nothing; its `refusal` is the marker.
 * `playedUs` is in microseconds; a smaller one than already reported is ignored, since what was heard stays heard.
 */
export function deliveryTransition(
  d: Delivery,
  report: { readonly state: DeliveryReportState; readonly playedUs: number },
): DeliveryMove {
  const from = d.phase;
  const to = target(from, report.state);
  if (to === null) return { ok: false, refusal: `delivery: ${report.state} is illegal in ${from}` };
  d.phase = to;
  if (report.playedUs > d.playedUs) d.playedUs = report.playedUs;
  return { ok: true, from, to, settled: settled(d) };
}

function target(phase: DeliveryPhase, report: DeliveryReportState): DeliveryPhase | null {
  switch (report) {
    case "accepted":
      return phase === "none" ? "accepted" : null;
    case "started":
      return phase === "accepted" ? "playing" : null;
    case "progress":
      return phase === "playing" ? "playing" : null;
    case "completed":
      return phase === "playing" ? "completed" : null;
    case "empty":
      return phase === "none" ? "completed" : null;
    case "cancelled":
    case "lost":
      // From any unsettled phase: a cut or a lost connection may come before the first frame is accepted.
      return phase === "none" || phase === "accepted" || phase === "playing" ? report : null;
  }
}
