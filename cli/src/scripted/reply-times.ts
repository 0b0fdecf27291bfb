/** When which words of a reply are heard, by what its voice tells of its audio: for a barge-in at a text. */
import type { ManagedProvider } from "@rspp/provider-gateway/attempt";

interface Segment {
  readonly text: string;
  audioUs: number;
  ended: boolean;
  /** Character within the segment after each word, and when it has been said, microseconds from its start. */
  words: readonly { readonly toChar: number; readonly endUs: number }[];
}

export interface ReplyTimes {
  /** A voice, with its segments noted. */
  listen(provider: ManagedProvider): ManagedProvider;
  /** Whether these words of the turn's reply lie before `playedUs` of its audio. */
  heard(turn: number, words: string, playedUs: number): boolean;
}

/** Of the newest replies only. */
const TURNS_MAX = 64;

export function createReplyTimes(): ReplyTimes {
  const turns = new Map<number, Segment[]>();
  const segmentsOf = (turn: number): Segment[] => {
    const known = turns.get(turn);
    if (known !== undefined) return known;
    const made: Segment[] = [];
    turns.set(turn, made);
    for (const old of turns.keys()) if (turns.size > TURNS_MAX) turns.delete(old);
    return made;
  };
  return {
    listen: (provider) => (provider.modality === "tts" ? noting(provider, segmentsOf) : provider),
    heard(turn, words, playedUs) {
      const segments = turns.get(turn) ?? [];
      const at = segments
        .map(({ text }) => text)
        .join("")
        .indexOf(words);
      if (at === -1) return false;
      return saidUs(segments, at + words.length) <= playedUs;
    },
  };
}

function noting(provider: ManagedProvider, segmentsOf: (turn: number) => Segment[]): ManagedProvider {
  return {
    ...provider,
    open(request, sink) {
      const mine = new Map<number, Segment>();
      const invocation = provider.open(request, {
        ...sink,
        chunk(chunk) {
          const segment = chunk.kind === "audio" ? mine.get(chunk.segment) : undefined;
          if (chunk.kind === "audio" && segment !== undefined) {
            segment.audioUs += chunk.durationUs;
            segment.ended ||= chunk.segmentEnd;
            if (chunk.words !== undefined) segment.words = chunk.words.map(({ to, endUs }) => ({ toChar: to, endUs }));
          }
          sink.chunk(chunk);
        },
        outcome: (outcome) => sink.outcome(outcome),
      });
      return {
        push(input) {
          if (input.kind === "text") {
            const segment: Segment = { text: input.text, audioUs: 0, ended: false, words: [] };
            mine.set(input.segment, segment);
            segmentsOf(request.turn).push(segment);
          }
          invocation.push(input);
        },
        finish: () => invocation.finish(),
        cancel: (reason) => invocation.cancel(reason),
      };
    },
  };
}

/** When the first `chars` characters have been said; infinite while that is not known. */
function saidUs(segments: readonly Segment[], chars: number): number {
  let beforeUs = 0;
  let left = chars;
  for (const { text, audioUs, ended, words } of segments) {
    if (left <= text.length) {
      const word = words.find(({ toChar }) => toChar >= left);
      if (word !== undefined) return beforeUs + word.endUs;
      return ended ? beforeUs + (audioUs * left) / text.length : Number.POSITIVE_INFINITY;
    }
    if (!ended) return Number.POSITIVE_INFINITY;
    beforeUs += audioUs;
    left -= text.length;
  }
  return Number.POSITIVE_INFINITY;
}
