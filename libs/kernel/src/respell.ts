/** Pronunciations: where words stand that are to be said otherwise. A pure function, declared as `respell` version 1. */

/**
 * `[from, to, rule, from, to, rule …]`: whole words of `text` that are one of `rules`, whatever their case, in order and apart
 * from one another; where several fit, the longest.
 */
export function respellings(text: string, rules: readonly string[]): number[] {
  const byLength = rules.map((_, rule) => rule).sort((a, b) => (rules[b]?.length ?? 0) - (rules[a]?.length ?? 0));
  const words = byLength.map((rule) => `(${(rules[rule] ?? "").replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&")})`);
  const found: number[] = [];
  if (words.length === 0) return found;
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}'])(?:${words.join("|")})(?![\\p{L}\\p{N}'])`, "giu");
  for (const match of text.matchAll(pattern)) {
    const group = match.findIndex((part, i) => i > 0 && part !== undefined);
    const rule = byLength[group - 1];
    if (rule !== undefined && match[0] !== "") found.push(match.index, match.index + match[0].length, rule);
  }
  return found;
}
