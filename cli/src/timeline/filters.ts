/** Which part of a timeline is shown. */
import type { ControlMark, Span, Waterfall, WaterfallTurn } from "@rspp/replay/waterfall-types";

export const timelineKinds = ["turn", "utterance", "invocation", "output", "playback", "signal"] as const;
export type TimelineKind = (typeof timelineKinds)[number];

export interface TimelineFilter {
  /** Turn numbers; empty: all. */
  readonly turns: readonly number[];
  /** Empty: all. */
  readonly kinds: readonly string[];
  /** "" for both. */
  readonly lane: string;
  /** "" for all. */
  readonly node: string;
}

/** The same waterfall with what was asked for; latencies, words and explanations of a shown turn stay whole. */
export function filtered(waterfall: Waterfall, filter: TimelineFilter): Waterfall {
  const turns = waterfall.turns
    .filter(({ turn }) => filter.turns.length === 0 || filter.turns.includes(turn))
    .map((turn) => filteredTurn(turn, filter));
  const signals = filter.turns.length > 0 ? [] : waterfall.signals.filter((mark) => signalWanted(mark, filter));
  return { ...waterfall, turns, signals };
}

function filteredTurn(turn: WaterfallTurn, filter: TimelineFilter): WaterfallTurn {
  return {
    ...turn,
    spans: turn.spans.filter((span) => spanWanted(span, filter)),
    signals: turn.signals.filter((mark) => signalWanted(mark, filter)),
  };
}

function spanWanted(span: Span, { kinds, lane, node }: TimelineFilter): boolean {
  if (kinds.length > 0 && !kinds.includes(span.kind)) return false;
  if (lane !== "" && span.lane !== lane) return false;
  return node === "" || span.node === node;
}

/** Signals travel in the control lane. */
function signalWanted(mark: ControlMark, { kinds, lane, node }: TimelineFilter): boolean {
  if (kinds.length > 0 && !kinds.includes("signal")) return false;
  if (lane !== "" && lane !== "control") return false;
  return node === "" || mark.node === node;
}
