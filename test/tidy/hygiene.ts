import { blankNonCode, lineOf } from "./blank.ts";

const isCode = (path: string): boolean => /\.(?:ts|tsx|js|mjs)$/.test(path);
const isTest = (path: string): boolean => /\.(?:test|spec)\.ts$/.test(path);

interface Rule {
  readonly rule: string;
  readonly pattern: RegExp;
  readonly applies: (path: string) => boolean;
  /** Look at code only, with strings and comments blanked, or at the whole text. */
  readonly codeOnly: boolean;
}

const rules: readonly Rule[] = [
  {
    rule: "no test is singled out, left out or put off",
    pattern: /\.(?:only|skip|todo)\s*[.(]/g,
    applies: isTest,
    codeOnly: true,
  },
  {
    rule: "no default exports",
    pattern: /\bexport\s+default\b|\bas\s+default\b/g,
    // A .d.ts in a room describes somebody else's module as it is.
    applies: (path) =>
      isCode(path) && path !== "vitest.config.ts" && !path.startsWith("gen/") && !path.endsWith(".d.ts"),
    codeOnly: true,
  },
  // In code, `registry.nodes.get(…)` is no host; a URL is one wherever it stands.
  {
    rule: "no registry host",
    pattern: /\bregistry\.(?!test\.ts)[a-z]+\./g,
    applies: (path) => !isCode(path),
    codeOnly: false,
  },
  { rule: "no registry host", pattern: /\/\/[\w.:@-]*registry[\w-]*\.[a-z]/g, applies: isCode, codeOnly: false },
  { rule: "no path of one machine", pattern: /(?<![\w.)}*-])\/work\//g, applies: () => true, codeOnly: false },
];

/** What no file of the repository may hold, a line each. */
export function hygieneProblems(path: string, text: string): string[] {
  return rules
    .filter((rule) => rule.applies(path))
    .flatMap(({ rule, pattern, codeOnly }) =>
      [...(codeOnly ? blankNonCode(text) : text).matchAll(pattern)].map(
        (match) => `${path}:${lineOf(text, match.index)}: ${rule} (found ${match[0].trim()})`,
      ),
    );
}
