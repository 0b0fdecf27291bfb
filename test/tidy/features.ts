import { blankNonCode } from "./blank.ts";

/**
 * The titles a test reports whose title in the source is a template, of `test.each` (`%s`, `$name`) or of TypeScript
 * (`${name}`): anything may stand in the places that are filled in.
 */
export function titlePattern(title: string): RegExp {
  const parts = title.split(/\$\{[^}]*\}|%[sdifjoOc#$]|\$[a-z][\w.]*/);
  const literal = parts.map((part) => part.replaceAll("%%", "%").replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${literal.join("[^]*")}$`);
}

/**
 * What is wrong with the map from feature numbers to the tests that prove them, a line each.
 * `readText` gives the text of a repository file, undefined when there is none.
 */
export function featureProblems(map: unknown, readText: (path: string) => string | undefined): string[] {
  if (typeof map !== "object" || map === null || Array.isArray(map)) return ["features.json holds one object"];
  return Object.entries(map).flatMap(([id, proofs]: [string, unknown]) => {
    if (!/^(?:F|NF|X)-\d{2,3}$/.test(id)) return [`${id}: a feature id looks like F-042, NF-018 or X-01`];
    if (!Array.isArray(proofs) || proofs.length === 0)
      return [`${id}: a list of at least one "path::test title" is needed`];
    return proofs.flatMap((proof: unknown) => proofProblem(id, proof, readText) ?? []);
  });
}

function proofProblem(id: string, proof: unknown, readText: (path: string) => string | undefined): string | undefined {
  const [path, title, ...rest] = typeof proof === "string" ? proof.split("::") : [];
  if (!path || !title || rest.length > 0) return `${id}: ${JSON.stringify(proof)} is not "path::test title"`;
  if (!/\.test\.ts$/.test(path)) return `${id}: ${path} is no test file`;
  const text = readText(path);
  if (text === undefined) return `${id}: there is no file ${path}`;
  return hasTitle(text, title) ? undefined : `${id}: ${path} has no test titled "${title}"`;
}

/** Whether a string of the code, not of a comment, is the title. */
function hasTitle(source: string, title: string): boolean {
  const code = blankNonCode(source);
  for (const quote of ['"', "'", "`"]) {
    const literal = quote + title + quote;
    for (let i = source.indexOf(literal); i !== -1; i = source.indexOf(literal, i + 1))
      if (code[i] === quote && code[i + literal.length - 1] === quote) return true;
  }
  return false;
}
