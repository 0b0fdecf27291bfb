/** Edits (insert, delete, replace) between two words, at most `cap`. Words longer than 64 characters count as far apart. */
function editDistance(a: string, b: string, cap: number): number {
  if (a.length > 64 || b.length > 64 || Math.abs(a.length - b.length) > cap) return cap + 1;
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(replace, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? cap + 1;
}

/** The legal name a writer most likely meant, or undefined when none is near (case and `-`/`_` do not count). */
export function nearest(word: string, legal: readonly string[]): string | undefined {
  const plain = (name: string): string => name.toLowerCase().replaceAll("-", "_");
  const cap = Math.max(1, Math.min(3, Math.floor(word.length / 3)));
  let best: string | undefined;
  let bestDistance = cap + 1;
  for (const name of legal) {
    const distance = editDistance(plain(word), plain(name), cap);
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** `did you mean "x"?` where a legal name is near, else the legal names. */
export function suggest(word: string, legal: readonly string[], what: string): string {
  const near = nearest(word, legal);
  if (near !== undefined) return `did you mean "${near}"?`;
  return legal.length === 0 ? `no ${what} is legal here` : `legal ${what}: ${legal.join(", ")}`;
}
