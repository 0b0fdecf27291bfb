/**
 * What a spec says of the dialogue beyond its graph: prompts on silence, the end of a call, what speech over
 * the output counts. Every part is absent where it is not used, so that plans of other specs stay as they are.
 * Milliseconds. Sentences are payloads of the session (`SessionConfig.spoken`): plans and states hold no text.
 */

export interface SilencePolicy {
  /** Neither side speaks for so long. */
  afterMs: number;
  /** How many sentences there are, said in turn: `silence[0]` … of `SessionConfig.spoken`. */
  prompts: number;
  /** In a row; the caller's next words start the count anew. */
  maxPrompts: number;
  /** After the last prompt and as long a silence again. */
  andThen: "hang_up" | "nothing";
}

export interface HangUpPolicy {
  /** The call ends after a reply that says one of these. */
  phrases: readonly string[];
  /** The same, but not said: it is cut out of the reply. Empty for none. */
  marker: string;
  /** Key on the caller's phone that ends the call, `*` or `#`; empty for none. */
  key: string;
}

/** Short words of assent over the output, which do not interrupt (`kernel.md` §2). */
export interface BackChannelPolicy {
  words: readonly string[];
  /** Speech longer than this interrupts whatever its words are, and so does speech whose words have not come by then. */
  maxMs: number;
}

/** What of the conversation the language model is told, beside `historyPartsMax`. */
export interface HistoryPolicy {
  turnsMax?: number;
  tokensMax?: number;
  /** How tokens are counted: a quarter of the characters, rounded up. */
  estimator: "chars/4@1";
  /** What has left is summed up by this node's language model, `history.summary` of `SessionConfig.spoken` telling how. */
  summary?: { node: string; charsMax: number };
}

export interface DialoguePolicy {
  /** Words, whatever their case, that voices are given in another spelling. */
  pronunciations?: readonly { text: string; say: string }[];
  history?: HistoryPolicy;
  /** Over the output speech counts from here on; never less than the endpointing node asks for. */
  minSpeechMs?: number;
  backChannel?: BackChannelPolicy;
  /** Words that the agent is just saying are its own echo, not the caller's. */
  echoGuard?: true;
  silence?: SilencePolicy;
  hangUp?: HangUpPolicy;
  /** Counted from the first `connected`; then the call ends in order. */
  maxCallMs?: number;
  /** So long before the end `max_call.warning` of `SessionConfig.spoken` is said. */
  maxCallWarningMs?: number;
}

/** Names in `SessionConfig.spoken`. */
export const SPOKEN_MAX_CALL_WARNING = "max_call.warning";
/** Said before the agent hangs up. */
export const SPOKEN_HANG_UP = "hang_up";

/** Never said: what the language model is told that sums up the history. */
export const SPOKEN_SUMMARY_PROMPT = "history.summary";

export function spokenSilence(index: number): string {
  return `silence[${index}]`;
}
