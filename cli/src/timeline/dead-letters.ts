/** What a session could not process (F-132): its dead letters, without what they said. */
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";

export interface ShownLetter {
  readonly number: number;
  readonly turn: number;
  /** `control`, `provider_chunk` or `node_event`. */
  readonly what: string;
  readonly reason: string;
  readonly source: string;
  readonly payloadBytes: number;
  /** "" at L0. */
  readonly payloadHash: string;
  readonly hash: string;
}

export function deadLettersOf(records: readonly TimelineRecord[]): ShownLetter[] {
  return records.flatMap((record) => {
    if (record.body.case !== "canonicalRecord" || record.body.value.kind !== "dead_letter") return [];
    const letter = letterOf(record.canonical);
    return letter === null ? [] : [letter];
  });
}

function letterOf(canonical: Uint8Array): ShownLetter | null {
  try {
    const { letter } = JSON.parse(new TextDecoder().decode(canonical)) as { letter: ShownLetter };
    const { number, turn, what, reason, source, payloadBytes, payloadHash, hash } = letter;
    return { number, turn, what, reason, source, payloadBytes, payloadHash, hash };
  } catch {
    return null;
  }
}

export function renderDeadLetters(letters: readonly ShownLetter[]): string[] {
  if (letters.length === 0) return ["no dead letters"];
  return letters.map(({ number, turn, what, reason, source, payloadBytes, hash }) => {
    const where = turn === 0 ? "session" : `turn ${turn}`;
    const payload = payloadBytes === 0 ? "" : `  ${payloadBytes} bytes`;
    return `${String(number).padStart(3)}  ${where}  ${what}  ${reason}  ${source}${payload}  ${hash.slice(0, 12)}`;
  });
}
