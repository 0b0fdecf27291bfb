import { stripTypeScriptTypes } from "node:module";
import { parseAst } from "vitest/node";

/** One mechanical change of a source file. */
export interface Mutant {
  /** Path from the root. */
  file: string;
  line: number;
  operator: string;
  /** The line before and after, trimmed: its name wherever the line moves to. */
  before: string;
  after: string;
  source: string;
}

interface Node {
  type: string;
  start: number;
  end: number;
  [field: string]: unknown;
}
interface Edit {
  operator: string;
  start: number;
  end: number;
  text: string;
}

const swaps: Readonly<Record<string, readonly string[]>> = {
  "<": ["<="],
  "<=": ["<"],
  ">": [">="],
  ">=": [">"],
  "===": ["!=="],
  "!==": ["==="],
  "&&": ["||"],
  "||": ["&&"],
  "+": ["-"],
  "-": ["+"],
  "++": ["--"],
  "--": ["++"],
  "+=": ["-="],
  "-=": ["+="],
};

/**
 * Every change of one place that the operators make: relations at their boundary, logic, arithmetic, conditions negated,
 * constants by one, statements left out, early returns. Types, strings, and `invariant` are left alone: an invariant
 * guards states that no legal input reaches.
 */
export function mutantsOf(file: string, source: string): Mutant[] {
  const edits: Edit[] = [];
  visit(parseAst(stripTypeScriptTypes(source)) as unknown as Node, source, edits);
  return edits.map((edit) => made(file, source, edit));
}

function made(file: string, source: string, { operator, start, end, text }: Edit): Mutant {
  const mutated = source.slice(0, start) + text + source.slice(end);
  const from = source.lastIndexOf("\n", start) + 1;
  const lineOf = (of: string, at: number): string => of.slice(from, of.indexOf("\n", at)).trim().replace(/\s+/g, " ");
  const line = source.slice(0, start).split("\n").length;
  return {
    file,
    line,
    operator,
    before: lineOf(source, end),
    after: lineOf(mutated, start + text.length),
    source: mutated,
  };
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

function visit(node: Node, source: string, edits: Edit[]): void {
  if (isInvariant(node)) return;
  mutate(node, source, edits);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit(child, source, edits);
  }
}

function isInvariant(node: Node): boolean {
  const call = node.type === "ExpressionStatement" ? (node.expression as Node) : node;
  if (call.type !== "CallExpression") return false;
  const name = (call.callee as { name?: string }).name;
  return name === "invariant" || name === "unreachable";
}

/** The operator's own place between two operands. */
function between(source: string, operator: string, from: number, to: number): number {
  const at = source.indexOf(operator, from);
  if (at < 0 || at >= to) throw new Error(`no ${operator} between ${from} and ${to}`);
  return at;
}

function mutate(node: Node, source: string, edits: Edit[]): void {
  const cut = (start: number, end: number): string => source.slice(start, end);
  switch (node.type) {
    case "BinaryExpression":
    case "LogicalExpression":
    case "AssignmentExpression": {
      const { operator } = node as unknown as { operator: string };
      const [left, right] = [node.left as Node, node.right as Node];
      const at = between(source, operator, left.end, right.start);
      for (const other of swaps[operator] ?? [])
        edits.push({ operator: `${operator} to ${other}`, start: at, end: at + operator.length, text: other });
      return;
    }
    case "UpdateExpression": {
      const { operator } = node as unknown as { operator: string };
      const argument = node.argument as Node;
      const at = node.prefix === true ? node.start : argument.end;
      edits.push({ operator, start: at, end: at + 2, text: swaps[operator]?.[0] ?? operator });
      return;
    }
    case "IfStatement":
    case "WhileStatement":
    case "ConditionalExpression": {
      const test = node.test as Node;
      // An equality is turned round as an operator already.
      if (test.type === "BinaryExpression" && /^[!=]==$/.test(String(test.operator))) return;
      edits.push({ operator: "condition negated", ...placeOf(test), text: `!(${cut(test.start, test.end)})` });
      return;
    }
    case "Literal":
      if (typeof node.value === "number")
        edits.push({ operator: "constant by one", ...placeOf(node), text: `(${cut(node.start, node.end)} + 1)` });
      if (typeof node.value === "boolean")
        edits.push({ operator: "constant", ...placeOf(node), text: String(!node.value) });
      return;
    case "ExpressionStatement":
      edits.push({ operator: "statement left out", ...placeOf(node), text: ";" });
      return;
    case "BreakStatement":
    case "ContinueStatement":
      edits.push({ operator: "statement left out", ...placeOf(node), text: ";" });
      return;
    case "ReturnStatement":
      if (node.argument === null) edits.push({ operator: "return left out", ...placeOf(node), text: ";" });
      return;
    default:
      return;
  }
}

function placeOf({ start, end }: Node): { start: number; end: number } {
  return { start, end };
}
