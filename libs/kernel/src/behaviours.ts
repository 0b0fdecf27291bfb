/**
 * Numbered, dated behaviour flags (kernel.md §1): whatever a replay could see changes only behind a new number here, kept
 * together with an old golden recording. A session's list of numbers is journaled; numbers are never reused.
 */

export interface Behaviour {
  readonly id: number;
  readonly name: string;
  /** ISO date from which new sessions have it. */
  readonly since: string;
}

/** Caller audio that is no longer needed is released by name (`caller-audio.ts`). */
export const RELEASES_CALLER_AUDIO = 2;

/** A turn commits once the end of its audio is admitted to the output's edge; no pressure or flow of an edge is told behind it (`flow.ts`). */
export const COMMITS_AT_ADMISSION = 3;

/** A call that a model names twice in one answer is made once (`tool-state.ts`). */
export const MAKES_A_CALL_ONCE = 4;

/** To prompts on silence, speech that words discard is nobody heard, and every key is somebody (`silence.ts`). */
export const KNOWS_WHO_IS_HEARD = 5;

/** What a node was told to end has one grace, however often it is told (`custom-stop.ts`). */
export const GRANTS_ONE_GRACE = 6;

/** A clause that was cut keeps the space behind its last word where more was heard after it (`conversation.ts`). */
export const PARTS_CUT_CLAUSES = 7;

/** A provider is asked again after a wait, attempts share the turn's time, and a silent recogniser is followed by the next (`retry.ts`, `hearing.ts`). */
export const RETRIES_WAIT = 8;

export const BEHAVIOURS: readonly Behaviour[] = [
  { id: 1, name: "initial semantics", since: "2026-11-22" },
  { id: RELEASES_CALLER_AUDIO, name: "caller audio is released", since: "2026-11-22" },
  { id: COMMITS_AT_ADMISSION, name: "the commit waits for blocked audio", since: "2026-11-22" },
  { id: MAKES_A_CALL_ONCE, name: "a tool call that is repeated is made once", since: "2026-11-22" },
  { id: KNOWS_WHO_IS_HEARD, name: "prompts on silence know who is heard", since: "2026-11-22" },
  { id: GRANTS_ONE_GRACE, name: "a later cancel renews no grace", since: "2026-11-22" },
  { id: PARTS_CUT_CLAUSES, name: "heard words do not run together", since: "2026-11-22" },
  { id: RETRIES_WAIT, name: "retries wait and share the time left", since: "2026-11-23" },
];

/** What a new session starts with. */
export const CURRENT_BEHAVIOURS: readonly number[] = BEHAVIOURS.map((b) => b.id);

/** Whether the behaviour is on in a session with these flags. */
export function isOn(flags: readonly number[], id: number): boolean {
  return flags.includes(id);
}

/** The flags this build does not know; a journal that carries one must not be replayed by it. */
export function unknownBehaviours(flags: readonly number[]): number[] {
  return flags.filter((id) => !BEHAVIOURS.some((b) => b.id === id));
}
