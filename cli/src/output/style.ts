/** Colours for people: on a terminal only, and never with NO_COLOR. */
import { styleText } from "node:util";

export type Paint = "bold" | "dim" | "red" | "green" | "yellow" | "blue" | "magenta" | "cyan";

/** Says whether colours are wanted on `stream`. */
export function coloured(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== "") return false;
  return stream.isTTY === true && env.TERM !== "dumb";
}

let wanted: boolean | undefined;

/** `text` in a colour where standard output shows colours, else as it is. */
export function paint(how: Paint, text: string): string {
  wanted ??= coloured(process.stdout, process.env);
  return wanted && text !== "" ? styleText(how, text, { validateStream: false }) : text;
}

/** What came over the wire may hold control characters, which would act on the reader's terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, " ");
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape sequences of our own colours
const colourCodes = /\u001b\[\d+m/g;

/** Columns a text takes, colours left out. */
export function widthOf(text: string): number {
  return [...text.replace(colourCodes, "")].length;
}

export function padded(text: string, width: number, right = false): string {
  const fill = " ".repeat(Math.max(0, width - widthOf(text)));
  return right ? fill + text : text + fill;
}

/** At most `width` columns; what is cut off is shown as an ellipsis. */
export function shortened(text: string, width: number): string {
  const letters = [...text];
  return letters.length <= width ? text : `${letters.slice(0, Math.max(0, width - 1)).join("")}…`;
}
