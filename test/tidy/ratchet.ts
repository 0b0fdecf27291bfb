/** Lengths that stand above the limit today, by file path or `path::function`. */
export type Allowances = Readonly<Record<string, number>>;

/** What breaks the limit or the ratchet, a line each: whatever is too long today may only shrink. */
export function ratchetProblems(what: string, max: number, found: Allowances, allowed: Allowances): string[] {
  const problems: string[] = [];
  for (const [key, lines] of Object.entries(found)) {
    const allowance = allowed[key];
    if (lines <= max) continue;
    if (allowance === undefined) problems.push(`${key}: ${lines} lines, a ${what} has at most ${max}: split it`);
    else if (lines > allowance) problems.push(`${key}: grew from ${allowance} to ${lines} lines, it may only shrink`);
    else if (lines < allowance) problems.push(`${key}: now ${lines} lines, lower its entry from ${allowance}`);
  }
  for (const key of Object.keys(allowed)) {
    if ((found[key] ?? 0) <= max) problems.push(`${key}: its entry in ratchet.json is no longer needed, remove it`);
  }
  return problems;
}

/** What in `now` is new or larger than in the version committed before. */
export function loosened(before: Allowances, now: Allowances): string[] {
  return Object.entries(now)
    .filter(([key, lines]) => lines > (before[key] ?? 0))
    .map(([key, lines]) => `${key}: entry of ${lines} lines is new or was raised; split the code instead`);
}
