const wordCharsMax = 64;

/** Edits (insert, delete, replace, swap of neighbours) between two words; `cap + 1` for anything further apart. */
function editDistance(a: string, b: string, cap: number): number {
  if (a.length > wordCharsMax || b.length > wordCharsMax || Math.abs(a.length - b.length) > cap) return cap + 1;
  const far = cap + 1;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (last[j - 1] ?? far) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(replace, (last[j] ?? far) + 1, (row[j - 1] ?? far) + 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (i > 1 && j > 1 && swapped) best = Math.min(best, (beforeLast[j - 2] ?? far) + 1);
      row.push(best);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length] ?? far;
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
