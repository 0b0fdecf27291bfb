/**
 * When the caller could hear something at the earliest, worked out from the latencies alone. Nothing of the product is
 * imported: whatever that does, this is what it is measured against.
 */

export interface StageLatencies {
  readonly sttFinalMs: number;
  readonly llmFirstMs: number;
  readonly tokensPerS: number;
  readonly ttsFirstMs: number;
  readonly ttsFrameMs: number;
}

/** Words as a model's tokens: each but the first brings the space before it. */
function tokensOf(reply: string): string[] {
  return reply.match(/\s*\S+/g) ?? [];
}

/**
 * Tokens until the first clause is known to be over. A full stop may stand in a number or a name: what comes after it says
 * whether the sentence has ended, so that the next token is needed, unless the reply is over.
 */
export function tokensOfFirstClause(reply: string): number {
  const tokens = tokensOf(reply);
  const end = tokens.findIndex((token) => /[.!?]$/.test(token));
  return end === -1 || end === tokens.length - 1 ? tokens.length : end + 2;
}

/** Milliseconds from the end of the caller's words to the first audio. */
export function criticalPathMs(latencies: StageLatencies, reply: string): number {
  const tokenMs = 1_000 / latencies.tokensPerS;
  const firstClauseMs = latencies.llmFirstMs + (tokensOfFirstClause(reply) - 1) * tokenMs;
  return latencies.sttFinalMs + firstClauseMs + latencies.ttsFirstMs;
}

/** The same where each stage waits for the whole of the one before; `frames` of 20 ms are the whole answer's audio. */
export function serialPathMs(latencies: StageLatencies, reply: string, frames: number): number {
  const tokenMs = 1_000 / latencies.tokensPerS;
  const wholeReplyMs = latencies.llmFirstMs + (tokensOf(reply).length - 1) * tokenMs;
  return latencies.sttFinalMs + wholeReplyMs + latencies.ttsFirstMs + (frames - 1) * latencies.ttsFrameMs;
}
