/** The conditions of a select node (F-006), one a line: `input: attribute = value, value` or, last, `input: otherwise`. */

export interface Choice {
  /** Id of the node whose text is chosen. */
  input: string;
  /** `language`, `provider`, `health` or `variable.NAME`; empty for `otherwise`. */
  attribute: string;
  values: readonly string[];
}

const LINE =
  /^\s*([a-z][a-z0-9_-]*)\s*:\s*(?:(otherwise)|(language|provider|health|variable\.[A-Za-z][\w.]*)\s*=\s*(.+?))\s*$/;

/** Null for a line of another form. */
export function parseChoice(line: string): Choice | null {
  const match = LINE.exec(line);
  if (match === null) return null;
  const [, input = "", otherwise, attribute = "", list = ""] = match;
  if (otherwise !== undefined) return { input, attribute: "", values: [] };
  const values = list.split(",").map((value) => value.trim());
  return values.some((value) => value === "") ? null : { input, attribute, values };
}
