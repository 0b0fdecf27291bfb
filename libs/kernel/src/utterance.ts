/** The utterance machine: none -> candidate -> confirmed -> ended, or discarded (kernel.md §2). Numbered per session. */

export const UTTERANCE_PHASES = ["none", "candidate", "confirmed", "ended", "discarded"] as const;
export type UtterancePhase = (typeof UTTERANCE_PHASES)[number];

export const DISCARD_REASONS = ["too_short", "empty", "back_channel", "own_echo"] as const;
export type DiscardReason = (typeof DISCARD_REASONS)[number];

export const UTTERANCE_TRIGGERS = ["speech_started", "confirmed", "endpoint", "discard", "reset"] as const;
export type UtteranceTrigger = (typeof UTTERANCE_TRIGGERS)[number];

export interface Utterance {
  /** Number of this utterance, from 1; 0 before the first. Kept by a reset, so that no number is used twice. */
  number: number;
  phase: UtterancePhase;
  /** Set in `discarded` only. */
  discardReason: DiscardReason | null;
}

export type UtteranceMove =
  | { readonly ok: true; readonly from: UtterancePhase; readonly to: UtterancePhase; readonly number: number }
  | { readonly ok: false; readonly refusal: string };

export function utteranceCreate(): Utterance {
  return { number: 0, phase: "none", discardReason: null };
}

/**
 * Applies `trigger` in place; `reason` belongs to `discard` and to nothing else. An illegal move changes nothing and its
 * `refusal` is the text of the marker. An ended or discarded utterance needs `reset` before the next may start, so that
 * whoever decides on it cannot be overtaken by the next speech.
 */
export function utteranceTransition(u: Utterance, trigger: UtteranceTrigger, reason?: DiscardReason): UtteranceMove {
  const from = u.phase;
  const to = target(from, trigger);
  if (to === null) return { ok: false, refusal: `utterance: ${trigger} is illegal in ${from}` };
  if ((trigger === "discard") !== (reason !== undefined)) {
    return { ok: false, refusal: `utterance: ${trigger} ${reason === undefined ? "needs a" : "takes no"} reason` };
  }
  if (trigger === "speech_started") u.number++;
  u.phase = to;
  u.discardReason = reason ?? null;
  return { ok: true, from, to, number: u.number };
}

function target(phase: UtterancePhase, trigger: UtteranceTrigger): UtterancePhase | null {
  switch (trigger) {
    case "speech_started":
      return phase === "none" ? "candidate" : null;
    case "confirmed":
      return phase === "candidate" ? "confirmed" : null;
    case "endpoint":
      return phase === "confirmed" ? "ended" : null;
    case "discard":
      // A confirmed one too: without authority it is let go.
      return phase === "candidate" || phase === "confirmed" ? "discarded" : null;
    case "reset":
      return phase === "ended" || phase === "discarded" ? "none" : null;
  }
}
