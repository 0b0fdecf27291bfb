/** Pure functions that tell speech over the output from assent and echo (`kernel.md` §2). Case and punctuation do not count. */

const words = (text: string): string[] => {
  const plain = text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}']+/gu, " ")
    .trim();
  return plain === "" ? [] : plain.split(" ");
};

/** Whether the text is made of these words or phrases alone, in any order and number. Blank text is not. */
export function onlyWords(text: string, phrases: readonly string[]): boolean {
  const found = words(text);
  const known = phrases.map(words).filter((phrase) => phrase.length > 0);
  // Places up to which the words can be read as phrases.
  const reached = [true];
  for (let at = 1; at <= found.length; at++) {
    reached[at] = known.some(
      (phrase) => reached[at - phrase.length] === true && phrase.every((w, i) => found[at - phrase.length + i] === w),
    );
  }
  return found.length > 0 && reached[found.length] === true;
}

/** The longest run, in order and with gaps, of the last words heard that is in `spoken`; thousandths of them. */
export function echoShare(heard: string, spoken: string, last: number): number {
  const compared = words(heard).slice(-last);
  if (compared.length === 0) return 0;
  let row = new Array<number>(compared.length + 1).fill(0);
  for (const said of words(spoken)) {
    const next = [0];
    for (const [i, word] of compared.entries()) {
      next.push(word === said ? (row[i] ?? 0) + 1 : Math.max(row[i + 1] ?? 0, next[i] ?? 0));
    }
    row = next;
  }
  return Math.floor(((row[compared.length] ?? 0) * 1000) / compared.length);
}
