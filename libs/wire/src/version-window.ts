/**
 * Which versions two builds may have to understand each other (NF-032): the newest and the one before it, so that a fleet is
 * upgraded one instance after another. Version 1 was the first.
 */
export interface VersionWindow {
  readonly min: number;
  readonly max: number;
}

/** What a receiver whose newest version is `newest` reads. */
export function readableBy(newest: number): VersionWindow {
  return { min: Math.max(1, newest - 1), max: newest };
}

/** What two ends that tell each other their newest version speak: the older one's; null when they are two or more apart. */
export function spokenBetween(mine: number, theirs: number): number | null {
  if (mine < 1 || theirs < 1 || Math.abs(mine - theirs) > 1) return null;
  return Math.min(mine, theirs);
}
