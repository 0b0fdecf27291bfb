/** State of the dialogue beyond turns and utterances. Absent from sessions that use none of it. */

import type { TextSpan } from "./event.ts";
import type { ConversationPart } from "./tool-state.ts";

export type SecondProposalOf = "queue" | "preempt";

/** How a proposal wants its turn, where that is not what the session's policy says. */
export interface ProposalOptions {
  /** While another turn is in the way: waits for it, or cuts it. */
  second?: SecondProposalOf;
  /** A barge-in does not cut it; an operator does (`kernel.md` §4). */
  uninterruptible?: true;
  /** The session ends once this turn has been heard. */
  hangUp?: true;
}

/** What the words of speech over the output have it taken for; `unknown` while there are none. */
export type SpeechVerdict = "unknown" | "speech" | "back_channel" | "own_echo";

export interface GuardedHearing {
  /** Over the output, where words decide whether it interrupts. */
  verdict?: SpeechVerdict;
  /** It ended before they did: decided when the transcript is there. */
  unjudged?: true;
}

export interface SpokenSegment {
  /** Where the voice was given another spelling (`pronunciation.ts`). */
  marks?: readonly number[];
}

export interface DialogueTurn {
  /** Says what it was given, no model's reply; noted where a reply may hang up. */
  given?: true;
  uninterruptible?: true;
}

/** The agent is going to hang up. */
export interface HangUp {
  reason: string;
  /** The last turn: the session ends when it has settled. 0: the farewell is proposed only; -1: nothing is awaited. */
  turn: number;
  /** Nothing the caller says takes it back. */
  firm: boolean;
}

/** What has left the history, on its way into a summary. */
export interface Summary {
  pending: ConversationPart[];
  /** That writes it; 0 for none. */
  invocation: number;
  /** What it was asked to sum up. */
  asked: ConversationPart[];
  /** Written, and adopted once no turn is open. */
  ready?: TextSpan;
  /** What language models are told. */
  adopted?: TextSpan;
}

export interface Dialogue {
  summary?: Summary;
  /** Prompts on silence since the caller was last heard. */
  prompted: number;
  hangUp?: HangUp;
}

export interface DialogueSession {
  dialogue?: Dialogue;
}

/** The caller was heard: prompts on silence are counted from here. */
export function countPromptsAnew({ dialogue }: DialogueSession): void {
  if (dialogue !== undefined) dialogue.prompted = 0;
}
