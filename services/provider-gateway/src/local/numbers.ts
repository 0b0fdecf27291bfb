/** Numbers in words, 0 to 199, as flite speaks and pocketsphinx writes them. */

const units = [
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
  "ten",
  "eleven",
  "twelve",
  "thirteen",
  "fourteen",
  "fifteen",
  "sixteen",
  "seventeen",
  "eighteen",
  "nineteen",
];
const tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

/** Throws RangeError outside 0 to 199. */
export function numberToWords(n: number): string {
  if (!Number.isInteger(n) || n < 0 || n > 199) throw new RangeError(`0 to 199 are spoken here, found ${n}`);
  if (n >= 100) return n === 100 ? "one hundred" : `one hundred ${numberToWords(n - 100)}`;
  if (n < 20) return units[n] ?? "";
  const ten = tens[Math.floor(n / 10) - 2] ?? "";
  return n % 10 === 0 ? ten : `${ten} ${units[n % 10]}`;
}

const byWords = new Map(Array.from({ length: 200 }, (_, n) => [numberToWords(n), n]));

/** Reads "forty two", "forty-two" or "42"; undefined when it is no number of 0 to 199. */
export function wordsToNumber(text: string): number | undefined {
  const plain = text.trim().toLowerCase().replaceAll("-", " ");
  if (/^\d{1,3}$/.test(plain)) {
    const n = Number(plain);
    return n <= 199 ? n : undefined;
  }
  return byWords.get(plain);
}
