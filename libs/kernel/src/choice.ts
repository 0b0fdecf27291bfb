/**
 * The conditions of a select node (F-006), one a line: `input: attribute = value, value`, `input: when <condition>` in the
 * language of conditional edges, or, last, `input: otherwise`.
 */

export interface Choice {
  /** Id of the node whose text is chosen. */
  input: string;
  /** `language`, `provider`, `health`, `variable.NAME` or `when`; empty for `otherwise`. */
  attribute: string;
  /** Of `when`: the source of the condition alone. */
  values: readonly string[];
}

const LINE =
  /^\s*([a-z][a-z0-9_-]*)\s*:\s*(?:(otherwise)|(language|provider|health|variable\.[A-Za-z][\w.]*)\s*=\s*(.+?))\s*$/;

const WHEN = /^\s*([a-z][a-z0-9_-]*)\s*:\s*when\s+(\S.*?)\s*$/s;

/** Null for a line of another form. */
export function parseChoice(line: string): Choice | null {
  const when = WHEN.exec(line);
  if (when !== null) return { input: when[1] ?? "", attribute: "when", values: [when[2] ?? ""] };
  const match = LINE.exec(line);
  if (match === null) return null;
  const [, input = "", otherwise, attribute = "", list = ""] = match;
  if (otherwise !== undefined) return { input, attribute: "", values: [] };
  const values = list.split(",").map((value) => value.trim());
  return values.some((value) => value === "") ? null : { input, attribute, values };
}
