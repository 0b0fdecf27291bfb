/** What the recognisers' fakes share: words with times, and a script told at its pace once there is audio. */
import type { FakeAnswer, Fault } from "./fake.ts";

export interface SpokenWord {
  readonly word: string;
  readonly startS: number;
  readonly endS: number;
}

/** A quarter of a second a word, from 80 ms on. */
export function spokenWords(text: string): SpokenWord[] {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word, at) => ({ word, startS: 0.08 + at * 0.25, endS: 0.28 + at * 0.25 }));
}

/** What is told under a fault: nothing where it is silent. */
export function scriptOf(answer: FakeAnswer, fault: Fault): { partials: readonly string[]; transcript: string } {
  if (fault === "empty" || fault === "silent_audio") return { partials: [], transcript: "" };
  return { partials: answer.partials ?? [], transcript: answer.transcript ?? "" };
}

/** No protocol of any vendor. */
export const garbage = "<html><body>502 \u{1F6A7} upstream</body></html>";
