/** `{{name}}` in a text stands for a session variable; `\{{` is the characters themselves. */

export interface Placeholder {
  /** As written between the braces, trimmed. */
  name: string;
  /** Whether a variable can have that name. */
  legal: boolean;
}

const mark = /(\\?)\{\{([^{}]*)\}\}/g;

/** In order, repeats included. */
export function placeholdersOf(text: string): Placeholder[] {
  if (!text.includes("{{")) return [];
  return [...text.matchAll(mark)]
    .filter(([, escaped]) => escaped === "")
    .map(([, , inner = ""]) => ({ name: inner.trim(), legal: /^[a-z][a-z0-9_]{0,63}$/.test(inner.trim()) }));
}

/** Whether braces are opened that close nothing. */
export function opensOnly(text: string): boolean {
  return text.replace(mark, "").replaceAll("\\{{", "").includes("{{");
}

/** The text with each placeholder filled in; a variable without a value is the empty text. Values are taken as they are. */
export function fillPlaceholders(text: string, values: Readonly<Record<string, string | number | boolean>>): string {
  if (!text.includes("{{")) return text;
  return text.replace(mark, (all: string, escaped: string, inner: string) => {
    if (escaped !== "") return all.slice(1);
    const name = inner.trim();
    return Object.hasOwn(values, name) ? String(values[name]) : "";
  });
}
