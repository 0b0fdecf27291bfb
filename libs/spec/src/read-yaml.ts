/** From text to YAML trees: YAML 1.2, of which JSON is a part; errors are values. */
import { type Document, isMap, isScalar, LineCounter, parseAllDocuments, type YAMLError } from "yaml";
import { FILE_BYTES_MAX } from "./limits.ts";
import type { PlaceOrigin, Position, ProblemList } from "./problem.ts";

export const START: Position = { line: 1, column: 1 };

export interface YamlText {
  lines: LineCounter;
  /** In order; what holds nothing is left out. Not empty. */
  roots: readonly unknown[];
}

/**
 * Reads the documents of a text; null, and reported, where there is none that can be read.
 *
 * @param origin where the text is not the checked file itself.
 */
export function readYaml(text: string, problems: ProblemList, origin?: PlaceOrigin): YamlText | null {
  const place = (at: Position) => (origin === undefined ? at : { ...at, origin });
  const start = place(START);
  if (utf8BytesExceed(text, FILE_BYTES_MAX)) {
    const message = `the file is larger than ${FILE_BYTES_MAX / 1024} KiB`;
    problems.add(start, { path: "", code: "too_large", message, remedy: "a spec names data, it does not hold it" });
    return null;
  }
  const lines = new LineCounter();
  const documents = parseDocuments(text, lines);
  const faults: YAMLError[] = (documents ?? []).flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  if (documents === null || faults.some((fault) => fault.message.includes("call stack"))) {
    const remedy = "a spec nests seven levels deep at most";
    const message = "the file cannot be read: it is nested too deeply";
    problems.add(start, { path: "", code: "syntax", message, remedy });
    return null;
  }
  for (const fault of faults) {
    const { line, col } = lines.linePos(fault.pos[0]);
    const at = place({ line: Math.max(1, line), column: Math.max(1, col) });
    const message = fault.message.slice(0, 200);
    const remedy = syntaxRemedies[fault.code] ?? "mend the YAML syntax here";
    problems.add(at, { path: "", code: "syntax", message, remedy });
  }
  if (faults.length > 0) return null;
  const roots = documents.map(({ contents }) => contents as unknown).filter((contents) => contents !== null);
  if (roots.length > 0) return { lines, roots };
  const remedy = "start with a template: pipelines/specs/voice-assistant.yaml";
  problems.add(start, { path: "", code: "syntax", message: "the file holds no pipeline spec", remedy });
  return null;
}

/** null where the library overflows the stack, as it does on thousands of nested brackets: thrown, or as an error of its own. */
function parseDocuments(text: string, lineCounter: LineCounter): Document.Parsed[] | null {
  try {
    // Unique keys are checked in `walk.ts`: here the check takes quadratic time.
    const options = { lineCounter, prettyErrors: false, uniqueKeys: false, version: "1.2" } as const;
    const documents = parseAllDocuments(text, options);
    return Array.isArray(documents) ? documents : [];
  } catch {
    return null;
  }
}

/** The value of a field of a map, as text; undefined for anything else. */
export function fieldText(root: unknown, key: string): string | undefined {
  const node: unknown = isMap(root) ? root.get(key, true) : undefined;
  if (!isScalar(node)) return undefined;
  const { value, source } = node;
  return typeof value === "string" ? value : typeof value === "number" ? (source ?? String(value)) : undefined;
}

const syntaxRemedies: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "indent with spaces",
  BAD_INDENT: "indent the fields of one block by the same number of spaces",
  MISSING_CHAR: "add the missing quote, bracket, comma or colon",
  TAG_RESOLVE_FAILED: "remove the tag (the word that starts with !)",
  BAD_ALIAS: "write the value out; aliases are not accepted",
  BLOCK_AS_IMPLICIT_KEY: "put the value on a line of its own, or in quotes if it holds a colon",
  MULTILINE_IMPLICIT_KEY: "put a colon after the field name",
};

function utf8BytesExceed(text: string, max: number): boolean {
  // A code unit is one byte at least and three at most.
  if (text.length > max) return true;
  return text.length * 3 > max && new TextEncoder().encode(text).length > max;
}
