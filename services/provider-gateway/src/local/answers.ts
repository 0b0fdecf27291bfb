import { numberToWords, wordsToNumber } from "./numbers.ts";

export interface Message {
  role: "system" | "user" | "assistant" | "tool";
  text: string;
}

const days: Readonly<Record<string, number>> = {
  january: 31,
  february: 28,
  march: 31,
  april: 30,
  may: 31,
  june: 30,
  july: 31,
  august: 31,
  september: 30,
  october: 31,
  november: 30,
  december: 31,
};

const story = [
  "Once upon a time there was a small robot who lived in a lighthouse by the sea.",
  "Every night it counted the ships, and every morning it wrote their names in a long blue book.",
  "One evening a storm came up, and the great lamp went dark.",
  "The robot climbed the stairs, held up its own little light, and sang as loud as it could.",
  "Out on the water a sailor heard the song, turned the wheel, and came home safely.",
  "From that day on, nobody called the robot small again.",
].join(" ");

const help = [
  "You can ask me to add two numbers, to count, to spell a word, or to tell you a story.",
  "You can also ask for the days in a month, or for our opening hours.",
].join(" ");

const hello = "Hello. How can I help you?";
const lost = "Sorry, I did not get that. Say help me to hear what I can do.";

type Intent = readonly [pattern: RegExp, answer: (match: RegExpMatchArray, messages: readonly Message[]) => string];

const intents: readonly Intent[] = [
  [/\bwhat(?:'s| is) (.+?) plus (.+)$/, (m) => add(m[1] ?? "", m[2] ?? "")],
  [/\bhow many days (?:are|does|has|is).*?\b([a-z]+)(?: have)?$/, (m) => daysIn(m[1] ?? "")],
  [/\bspell (?:the word )?([a-z]{1,20})$/, (m) => `${[...(m[1] ?? "").toUpperCase()].join(", ")}.`],
  [/\bgo (forward|backward|left|right) (.+?) met(?:er|re)s?$/, (m) => move(m[1] ?? "", m[2] ?? "")],
  [/\bwhen do you open/, () => "We open at nine."],
  [/\bwhen do you close/, () => "We close at six."],
  [/\bopening hours/, () => "We are open from nine to six, Monday to Saturday."],
  [/\bopen on ([a-z]+)/, (m) => openOn(m[1] ?? "")],
  [/\bcount to (.+)$/, (m) => count(m[1] ?? "")],
  [/\b(?:say that again|repeat that|repeat)\b/, (_, messages) => repeat(messages)],
  [/\b(?:tell me a|another) story\b/, () => story],
  [/\b(?:help|what can you do)\b/, () => help],
  [/\b(?:goodbye|bye)\b/, () => "Goodbye, and have a nice day."],
  [/\b(?:stop|wait)\b/, () => "Okay."],
  [/\b(?:hello|hi|good morning|good evening)\b/, () => hello],
];

/** The answer to the last thing the user said; without one, a greeting. Deterministic. */
export function answerTo(messages: readonly Message[]): string {
  const last = messages.findLast((message) => message.role === "user");
  if (last === undefined) return hello;
  const plain = last.text
    .toLowerCase()
    .replace(/[^a-z0-9' -]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  for (const [pattern, answer] of intents) {
    const match = plain.match(pattern);
    if (match) return answer(match, messages);
  }
  return lost;
}

function add(left: string, right: string): string {
  const a = wordsToNumber(left);
  const b = wordsToNumber(right);
  if (a === undefined || b === undefined || a + b > 199) return lost;
  return sentence(`${numberToWords(a)} plus ${numberToWords(b)} is ${numberToWords(a + b)}`);
}

function daysIn(month: string): string {
  const n = days[month];
  if (n === undefined) return lost;
  const leap = month === "february" ? " or twenty nine in a leap year" : "";
  return sentence(`${month} has ${numberToWords(n)} days${leap}`);
}

function move(direction: string, distance: string): string {
  const n = wordsToNumber(distance);
  return n === undefined ? lost : `Going ${direction} ${numberToWords(n)} ${n === 1 ? "meter" : "meters"}.`;
}

function openOn(weekday: string): string {
  const day = weekday.charAt(0).toUpperCase() + weekday.slice(1);
  return weekday === "sunday" ? `No, we are closed on ${day}.` : `Yes, we are open on ${day}, from nine to six.`;
}

function count(to: string): string {
  const n = wordsToNumber(to);
  if (n === undefined || n === 0 || n > 99) return lost;
  return sentence(Array.from({ length: n }, (_, i) => numberToWords(i + 1)).join(", "));
}

function repeat(messages: readonly Message[]): string {
  return messages.findLast((message) => message.role === "assistant")?.text ?? "I have not said anything yet.";
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
