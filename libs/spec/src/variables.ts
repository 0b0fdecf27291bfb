/** What a session variable or a parameter may be: its declaration checked, and a value against it. */
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";
import { PATTERN_VALUE_CHARS_MAX, VARIABLE_CHARS_MAX } from "./limits.ts";
import { suggest } from "./nearest.ts";
import { matchesPattern, patternFault } from "./safe-pattern.ts";
import type { VariableDocument } from "./spec.ts";

export interface WrongValue {
  /** Follows the name; never the value, which may be personal. */
  message: string;
  remedy: string;
}

/** null where the value is one that the declaration allows. */
export function wrongValue(declaration: VariableDocument, value: unknown): WrongValue | null {
  switch (declaration.type) {
    case "string":
      return typeof value === "string" ? wrongText(declaration, value) : wrongType("text", value);
    case "number":
      return typeof value === "number" ? wrongNumber(declaration, value) : wrongType("a number", value);
    case "boolean":
      return typeof value === "boolean" ? null : wrongType("true or false", value);
    case "enum": {
      const values = declaration.values ?? [];
      if (typeof value === "string" && values.includes(value)) return null;
      const remedy =
        typeof value === "string" ? suggest(value, values, "values") : `legal values: ${values.join(", ")}`;
      return { message: "is none of its values", remedy };
    }
  }
}

function wrongType(expected: string, value: unknown): WrongValue {
  const found = value === null ? "nothing" : Array.isArray(value) ? "a list" : typeof value;
  return { message: `must be ${expected}, found ${found}`, remedy: `give ${expected}` };
}

function wrongText({ min_chars, max_chars, pattern }: VariableDocument, value: string): WrongValue | null {
  const most = Math.min(
    max_chars ?? VARIABLE_CHARS_MAX,
    pattern === undefined ? VARIABLE_CHARS_MAX : PATTERN_VALUE_CHARS_MAX,
  );
  const least = min_chars ?? 0;
  if (value.length < least || value.length > most) {
    return { message: `has ${value.length} characters`, remedy: `give ${least} to ${most} characters` };
  }
  if (pattern === undefined || matchesPattern(pattern, value)) return null;
  return { message: "does not match its pattern", remedy: `give a text that matches ${pattern}` };
}

function wrongNumber({ min, max, whole }: VariableDocument, value: number): WrongValue | null {
  if (!Number.isFinite(value)) return { message: "is no finite number", remedy: "give a finite number" };
  if (whole === true && !Number.isInteger(value))
    return { message: "is no whole number", remedy: "give a whole number" };
  if (value >= (min ?? -Infinity) && value <= (max ?? Infinity)) return null;
  const range = [min === undefined ? "" : `at least ${min}`, max === undefined ? "" : `at most ${max}`];
  return { message: "is out of range", remedy: `give ${range.filter((part) => part !== "").join(", ")}` };
}

/** Rules within each declaration. @param declarations walked; fields that were wrong are absent. */
export function checkDeclarations(declarations: unknown, path: string, report: Report): void {
  if (typeof declarations !== "object" || declarations === null) return;
  for (const [name, declaration] of Object.entries(declarations)) {
    checkDeclaration(declaration as VariableDocument | undefined, `${path}.${name}`, report);
  }
}

function checkDeclaration(declaration: VariableDocument | undefined, path: string, report: Report): void {
  if (typeof looseField(declaration, "type") !== "string" || declaration === undefined) return;
  const fault = declaration.pattern === undefined ? null : patternFault(declaration.pattern);
  if (fault !== null) {
    const remedy = "use at most three of * + {n,m}, none of them after a group";
    report({ path: `${path}.pattern`, code: "bad_format", message: `the pattern ${fault}`, remedy });
    return;
  }
  checkOrder(declaration, path, "min", "max", report);
  checkOrder(declaration, path, "min_chars", "max_chars", report);
  if (declaration.default === undefined) return;
  if (declaration.required === true) {
    const message = "a value that has a default is never missing";
    report({ path: `${path}.default`, code: "not_allowed", message, remedy: "remove default, or required" });
  }
  const wrong = wrongValue(declaration, declaration.default);
  if (wrong === null) return;
  report({
    path: `${path}.default`,
    code: "not_allowed",
    message: `the default ${wrong.message}`,
    remedy: wrong.remedy,
  });
}

function checkOrder(
  declaration: VariableDocument,
  path: string,
  low: "min" | "min_chars",
  high: "max" | "max_chars",
  report: Report,
): void {
  const [least, most] = [declaration[low], declaration[high]];
  if (least === undefined || most === undefined || least <= most) return;
  const message = `${low} (${least}) exceeds ${high} (${most}): no value could ever be given`;
  report({ path: `${path}.${low}`, code: "out_of_range", message, remedy: `set ${low} to ${most} or less` });
}
