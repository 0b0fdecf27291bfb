import { blankNonCode, lineOf } from "./blank.ts";

export interface FoundFunction {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
}

const statementWords = new Set(["if", "for", "while", "switch", "catch", "with"]);
const typeOperators = new Set(["asserts", "is", "keyof", "typeof", "readonly", "extends", "infer", "unique", "new"]);
const notInTypes = new Set([
  "return",
  "throw",
  "const",
  "let",
  "var",
  "case",
  "default",
  "break",
  "if",
  "for",
  "while",
  "do",
]);
const closers: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/**
 * Every function, method or arrow with a block body, and its length from the line of its parameters to its last brace.
 * Works on brackets and on the return type between parameters and body; formatted code is assumed. The body of a
 * `describe` is a group of tests and not counted.
 */
export function functionsOf(source: string): FoundFunction[] {
  const code = blankNonCode(source);
  const matching = matchBrackets(code);
  const found: FoundFunction[] = [];
  for (const [open, close] of matching) {
    if (code[open] !== "(") continue;
    const body = bodyAfter(code, matching, close + 1, code.slice(Math.max(0, open - 200), open));
    const end = body === undefined ? undefined : matching.get(body);
    if (end === undefined) continue;
    const line = lineOf(source, open);
    const head = source.split("\n")[line - 1]?.trim() ?? "";
    if (isGroupOfTests(code, matching, open)) continue;
    found.push({ name: nameOf(code.slice(0, open), head), line, lines: lineOf(source, end) - line + 1 });
  }
  return found;
}

/** Whether the function is an argument of `describe(…)`, `describe.each(…)(…)` and the like. */
function isGroupOfTests(code: string, matching: ReadonlyMap<number, number>, at: number): boolean {
  let callee: string | undefined;
  for (const [open, close] of matching) {
    // The innermost call around `at` opens last; a curried call is followed back to its first parentheses.
    if (code[open] === "(" && open < at && close > at) callee = calleeOf(code, matching, open);
  }
  return callee !== undefined && /(?:^|[^\w$.])describe(?:\.\w+)*$/.test(callee);
}

function calleeOf(code: string, matching: ReadonlyMap<number, number>, open: number): string {
  const before = code.slice(0, open).trimEnd();
  if (!before.endsWith(")")) return before.slice(-80);
  for (const [start, close] of matching) {
    if (close === before.length - 1) return calleeOf(code, matching, start);
  }
  return "";
}

/** Offset of each opening bracket to that of its closing one. */
function matchBrackets(code: string): Map<number, number> {
  const matching = new Map<number, number>();
  const open: number[] = [];
  for (let i = 0; i < code.length; i++) {
    const c = code[i] ?? "";
    if (c in closers) open.push(i);
    else if (c === ")" || c === "]" || c === "}") {
      const start = open.at(-1);
      if (start === undefined || closers[code[start] ?? ""] !== c) continue;
      matching.set(start, i);
      open.pop();
    }
  }
  return new Map([...matching].sort(([a], [b]) => a - b));
}

/** Where the block begins if the parentheses that end before `at` are the parameters of a function. */
function bodyAfter(
  code: string,
  matching: ReadonlyMap<number, number>,
  at: number,
  before: string,
): number | undefined {
  let next = skipSpace(code, at);
  if (code[next] === ":") {
    const afterType = skipType(code, matching, next + 1);
    if (afterType === undefined) return undefined;
    next = afterType;
  }
  if (code.startsWith("=>", next)) {
    const body = skipSpace(code, next + 2);
    return code[body] === "{" ? body : undefined;
  }
  const word = /([\w$]+)\s*$/.exec(before)?.[1];
  return code[next] === "{" && !(word !== undefined && statementWords.has(word)) ? next : undefined;
}

/** Passes over a return type; the offset of the `{` or `=>` behind it, or undefined when it was no return type. */
function skipType(code: string, matching: ReadonlyMap<number, number>, from: number): number | undefined {
  let wanted = true;
  let afterParens = false;
  for (let at = skipSpace(code, from); at < code.length; at = skipSpace(code, at)) {
    const c = code[at] ?? "";
    const word = /^[\w$]+/.exec(code.slice(at, at + 80))?.[0];
    if (code.startsWith("=>", at)) {
      if (!afterParens) return at;
      [wanted, afterParens, at] = [true, false, at + 2];
    } else if (word !== undefined) {
      if (notInTypes.has(word) || (!wanted && !typeOperators.has(word))) return undefined;
      [wanted, afterParens, at] = [typeOperators.has(word), false, at + word.length];
    } else if (c === "{" && !wanted) return at;
    else if (c === "(" && !wanted) return undefined;
    else if (c in closers) {
      const close = matching.get(at);
      if (close === undefined) return undefined;
      [wanted, afterParens, at] = [false, c === "(", close + 1];
    } else if (c === "<") [wanted, afterParens, at] = [false, false, afterAngles(code, at)];
    else if (c === '"' || c === "'" || c === "`")
      [wanted, afterParens, at] = [false, false, code.indexOf(c, at + 1) + 1];
    else if ("|&.?:".includes(c)) [wanted, afterParens, at] = [true, false, at + 1];
    else return undefined;
  }
  return undefined;
}

function afterAngles(code: string, at: number): number {
  let depth = 0;
  for (let i = at; i < code.length; i++) {
    if (code[i] === "<") depth += 1;
    else if (code[i] === ">" && code[i - 1] !== "=") depth -= 1;
    if (depth === 0) return i + 1;
  }
  return code.length;
}

function skipSpace(code: string, at: number): number {
  let i = at;
  while (i < code.length && /\s/.test(code[i] ?? "")) i += 1;
  return i;
}

/** The word before the parameters, or the variable an arrow is given to; else the line it stands on. */
function nameOf(before: string, head: string): string {
  const near = before.slice(-200).replace(/<[^()]*>\s*$/, "");
  const named = /([\w$#]+)\s*$/.exec(near)?.[1];
  if (named !== undefined && named !== "function" && named !== "async") return named;
  const assigned = /([\w$#]+)\s*(?::[^=;]*)?[=:]\s*(?:async\s*|function\s*)*$/.exec(near)?.[1];
  return assigned ?? head.slice(0, 60);
}
