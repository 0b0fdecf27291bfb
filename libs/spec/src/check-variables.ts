/** Declarations of session variables, and every `{{name}}` in texts and settings against them. */
import type { Report } from "./check-graph.ts";
import { looseField } from "./graph-view.ts";
import { suggest } from "./nearest.ts";
import { opensOnly, placeholdersOf } from "./placeholders.ts";
import { checkDeclarations } from "./variables.ts";

/** Fields of a document with texts that may name variables: of what is said, and of what becomes part of the plan. */
const said = ["conversation", "policy"];
const planned = ["nodes", "vocabulary", "errors", "degrade"];
/** Metadata, ids and names, which are never filled in. */
const fixed = new Set(["id", "kind", "description", "name"]);

/** @param document a walked spec; fields that were wrong are absent. */
export function checkVariables(document: unknown, report: Report): void {
  const declared = looseField(document, "variables");
  checkDeclarations(declared, "variables", report);
  const names = typeof declared === "object" && declared !== null ? Object.keys(declared) : [];
  for (const root of [...said, ...planned]) {
    eachText(looseField(document, root), root, (text, path) => checkText(text, path, names, declared, report));
  }
}

/** Every text below a value with its field path; what is metadata is left out. */
export function eachText(value: unknown, path: string, visit: (text: string, path: string) => void): void {
  if (typeof value === "string") visit(value, path);
  else if (Array.isArray(value)) for (const [i, item] of value.entries()) eachText(item, `${path}[${i}]`, visit);
  else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) if (!fixed.has(key)) eachText(item, `${path}.${key}`, visit);
  }
}

function checkText(text: string, path: string, names: readonly string[], declared: unknown, report: Report): void {
  if (opensOnly(text)) {
    const remedy = "close it with }}, or write \\{{ for the characters themselves";
    report({ path, code: "bad_format", message: "{{ is opened and never closed", remedy });
  }
  for (const { name, legal } of placeholdersOf(text)) {
    const shown = `{{${name.slice(0, 64)}}}`;
    if (!legal) {
      const remedy = "write {{name}} with the name of a session variable, or \\{{ for the characters themselves";
      report({ path, code: "bad_format", message: `${shown} names no variable`, remedy });
    } else if (!names.includes(name)) {
      const remedy =
        names.length === 0
          ? `declare it: "variables: {${name}: {type: string, required: true}}"`
          : `${suggest(name, names, "variables")} Else declare it under variables`;
      report({ path, code: "unknown_variable", message: `${shown} is no variable of this pipeline`, remedy });
    } else checkSensitivity(name, path, looseField(declared, name), report);
  }
}

/** The settings stand in the plan, which is kept at every recording level; a secret stands nowhere. */
function checkSensitivity(name: string, path: string, declaration: unknown, report: Report): void {
  const sensitivity = looseField(declaration, "sensitivity") ?? "personal";
  const setting = planned.some((root) => path.startsWith(root));
  if (sensitivity === "public" || (sensitivity === "personal" && !setting)) return;
  const message =
    sensitivity === "secret"
      ? `{{${name}}} is secret and would be said or sent`
      : `{{${name}}} is personal, and what stands here is part of the plan, which every recording keeps`;
  const remedy = setting
    ? `declare it with "sensitivity: public" if it is no personal data, or use it in the conversation only`
    : "remove it from the text";
  report({ path, code: "not_allowed", message, remedy });
}
