/**
 * The session machine: CONNECTING -> ACTIVE -> DRAINING -> ENDED (kernel.md §2, F-138). Reconnecting is a sub-state of
 * ACTIVE, held as the instant it began.
 */
import type { MonoNs } from "@rspp/base/brand";

export const SESSION_PHASES = ["connecting", "active", "draining", "ended"] as const;
export type SessionPhase = (typeof SESSION_PHASES)[number];

export const SESSION_TRIGGERS = [
  "connected",
  "reconnecting",
  "reconnected",
  "drain",
  "end",
  "reconnect_timeout",
] as const;
export type SessionTrigger = (typeof SESSION_TRIGGERS)[number];

export interface SessionState {
  phase: SessionPhase;
  /** Only in `active`: when the connection was lost; null while connected. */
  reconnectingSinceNs: MonoNs | null;
}

export type SessionMove =
  | { readonly ok: true; readonly from: SessionPhase; readonly to: SessionPhase }
  | { readonly ok: false; readonly refusal: string };

export function sessionCreate(): SessionState {
  return { phase: "connecting", reconnectingSinceNs: null };
}

export function sessionReconnecting(s: SessionState): boolean {
  return s.phase === "active" && s.reconnectingSinceNs !== null;
}

/**
 * Applies `trigger` at `nowNs` in place. An illegal move changes nothing; its `refusal` is the text of the marker.
 * `reconnect_timeout` drains: nothing skips DRAINING.
 */
export function sessionTransition(s: SessionState, trigger: SessionTrigger, nowNs: MonoNs): SessionMove {
  const from = s.phase;
  const reconnecting = sessionReconnecting(s);
  const to = target(from, reconnecting, trigger);
  if (to === null) {
    return { ok: false, refusal: `session: ${trigger} is illegal in ${from}${reconnecting ? " (reconnecting)" : ""}` };
  }
  s.phase = to;
  s.reconnectingSinceNs = trigger === "reconnecting" ? nowNs : null;
  return { ok: true, from, to };
}

function target(phase: SessionPhase, reconnecting: boolean, trigger: SessionTrigger): SessionPhase | null {
  switch (trigger) {
    case "connected":
      return phase === "connecting" ? "active" : null;
    case "reconnecting":
      return phase === "active" && !reconnecting ? "active" : null;
    case "reconnected":
      return reconnecting ? "active" : null;
    case "reconnect_timeout":
      return reconnecting ? "draining" : null;
    case "drain":
      return phase === "active" ? "draining" : null;
    case "end":
      return phase === "draining" ? "ended" : null;
  }
}
