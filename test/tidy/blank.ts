// Blanks what is not code, so that a plain regular expression can look for words. Length and line breaks stay, so that
// an offset in the blanked text is one in the source.

const regexAfterWord = new Set([
  "return",
  "typeof",
  "case",
  "in",
  "of",
  "do",
  "else",
  "throw",
  "void",
  "delete",
  "new",
]);

interface Scan {
  readonly source: string;
  readonly out: string[];
  at: number;
  /** One entry per open template: how many braces are open inside its current `${…}`. */
  readonly templates: number[];
}

/** The source with the inside of comments, strings, template text and regular expressions replaced by spaces. */
export function blankNonCode(source: string): string {
  const scan: Scan = { source, out: source.split(""), at: 0, templates: [] };
  while (scan.at < source.length) step(scan);
  return scan.out.join("");
}

/** 1-based line of an offset. */
export function lineOf(source: string, offset: number): number {
  let line = 1;
  for (let i = source.indexOf("\n"); i !== -1 && i < offset; i = source.indexOf("\n", i + 1)) line += 1;
  return line;
}

function step(scan: Scan): void {
  const c = scan.source[scan.at];
  const next = scan.source[scan.at + 1];
  if (c === "/" && next === "/") blankTo(scan, scan.at, endOr(scan, "\n"));
  else if (c === "/" && next === "*") blankTo(scan, scan.at, endOr(scan, "*/", 2));
  else if (c === "#" && next === "!" && scan.at === 0) blankTo(scan, 0, endOr(scan, "\n"));
  else if (c === '"' || c === "'") quoted(scan, c);
  else if (c === "`") template(scan);
  else if (c === "/" && regexMayStart(scan)) regex(scan);
  else if (scan.templates.length > 0 && (c === "{" || c === "}")) brace(scan, c);
  else scan.at += 1;
}

function endOr(scan: Scan, mark: string, extra = 0): number {
  const end = scan.source.indexOf(mark, scan.at + extra);
  return end === -1 ? scan.source.length : end + extra;
}

function blankTo(scan: Scan, from: number, to: number): void {
  for (let i = from; i < to; i++) if (scan.source[i] !== "\n") scan.out[i] = " ";
  scan.at = to;
}

function quoted(scan: Scan, quote: string): void {
  let end = scan.at + 1;
  while (end < scan.source.length && scan.source[end] !== quote && scan.source[end] !== "\n") {
    end += scan.source[end] === "\\" ? 2 : 1;
  }
  blankTo(scan, scan.at + 1, end);
  scan.at = end + 1;
}

/** From a backquote, or from the brace that ends a `${…}`, up to the next `${` or the closing backquote. */
function template(scan: Scan): void {
  let end = scan.at + 1;
  while (end < scan.source.length && scan.source[end] !== "`" && !scan.source.startsWith("${", end)) {
    end += scan.source[end] === "\\" ? 2 : 1;
  }
  blankTo(scan, scan.at + 1, end);
  if (scan.source[end] === "$") {
    scan.templates.push(0);
    scan.at = end + 2;
  } else {
    scan.at = end + 1;
  }
}

function brace(scan: Scan, c: "{" | "}"): void {
  const top = scan.templates.length - 1;
  const open = scan.templates[top] ?? 0;
  if (c === "}" && open === 0) {
    scan.templates.pop();
    template(scan);
    return;
  }
  scan.templates[top] = open + (c === "{" ? 1 : -1);
  scan.at += 1;
}

function regexMayStart(scan: Scan): boolean {
  const before = scan.source.slice(Math.max(0, scan.at - 200), scan.at).trimEnd();
  const last = before.at(-1);
  if (last === undefined || "(,=:[!&|?{;+-*%~^<>".includes(last)) return true;
  return regexAfterWord.has(/[\w$]+$/.exec(before)?.[0] ?? "");
}

function regex(scan: Scan): void {
  let inClass = false;
  for (let end = scan.at + 1; end < scan.source.length && scan.source[end] !== "\n"; end++) {
    const c = scan.source[end];
    if (c === "\\") end += 1;
    else if (c === "[") inClass = true;
    else if (c === "]") inClass = false;
    else if (c === "/" && !inClass) {
      blankTo(scan, scan.at + 1, end);
      scan.at = end + 1;
      return;
    }
  }
  scan.at += 1;
}
