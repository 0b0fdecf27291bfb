/** What the text nodes of one turn hold (F-010). Made when a node is first given something, gone with its turn. */
import type { KernelEvent, TextSpan } from "./event.ts";

export interface TextNodeRun {
  /** Events that were not let through. */
  dropped: number;
  merge?: MergeRun;
  select?: SelectRun;
  screen?: ScreenRun;
  translator?: TranslatorRun;
  /** Context: the turn's words as text nodes before it made them. */
  gathered?: TextSpan[];
}

export interface MergeRun {
  /** Waiting for the other inputs, in the order they will leave. `priority` is that of the input. */
  held: { event: KernelEvent; edge: number; priority: number; untilNs: number }[];
  /** By place among the node's inputs: latest stamp seen (-1 before the first) and whether its stream has ended. */
  seenNs: number[];
  ended: boolean[];
  /** Stamp of what left last, and the input it came from; -1 before. */
  lastNs: number;
  lastEdge: number;
  /** The space between texts of different inputs. */
  gap: TextSpan | null;
  late: number;
}

export interface SelectRun {
  /** Edge whose text passes; -1 for none. */
  chosen: number;
}

export interface ScreenRun {
  /** What may still become part of a match, after `context` characters that have been let through. */
  spans: TextSpan[];
  context: number;
  /** A blocked turn says nothing more. */
  blocked: boolean;
  /** Payloads of the node's own words, by their text. */
  literals: Record<string, TextSpan>;
  audits: number;
  untold: number;
  language: string;
}

export interface TranslatorRun {
  /** Source text not yet given to the model. */
  spans: TextSpan[];
  chars: number;
  inputEnded: boolean;
  opened: number;
  /** White space at the end of what is being translated: it parts the result from the next. */
  tail: TextSpan | null;
  causeSeq: number;
}

/** Digits keyed in and not yet proposed: one payload each, since they are personal data. */
export interface Keypad {
  spans: TextSpan[];
  /** Stamps of the first and the latest digit. */
  firstNs: number;
  lastNs: number;
}
