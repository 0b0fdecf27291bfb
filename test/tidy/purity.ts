import { blankNonCode, lineOf } from "./blank.ts";
import { importsOf } from "./imports.ts";

/** Rooms whose shipped code takes nothing from the air (kernel.md §1). */
const pureRooms = /^libs\/(?:base|kernel|protocol)\//;

// Names count as globals unless they follow a dot; what hides behind globalThis is refused with it.
const rules: readonly (readonly [rule: string, pattern: RegExp])[] = [
  ["no Date: time comes in with the input's stamp", /(?<![.\w$])Date\b/g],
  ["no performance: time comes in with the input's stamp", /(?<![.\w$])performance\b/g],
  ["no Math.random: use a seeded stream", /\bMath\s*(?:\.\s*random\b|\[)/g],
  ["no timers: ask the shell by an effect", /(?<![.\w$])(?:set(?:Timeout|Interval|Immediate)|queueMicrotask)\b/g],
  ["no process", /(?<![.\w$])process\s*(?:\?\.|[.[])/g],
  ["no console: logging is the shell's", /(?<![.\w$])console\s*(?:\?\.|[.[])/g],
  [
    "no async, await or promises",
    /(?<![.\w$])(?:async|await|Promise(?:Like)?|Async(?:Iterable|Iterator|Generator)\w*)\b/g,
  ],
  ["no globalThis", /(?<![.\w$])globalThis\b/g],
  ["no crypto: use libs/base sha256 or a seeded stream", /(?<![.\w$])crypto\s*(?:\?\.|[.[])/g],
  ["no fetch", /(?<![.\w$])fetch\s*\(/g],
  ["no locale: its order differs between machines", /(?<![.\w$])Intl\b|\.\s*(?:localeCompare|toLocale\w+)\b/g],
  ["no WeakRef: collection is not deterministic", /(?<![.\w$])(?:WeakRef|FinalizationRegistry)\b/g],
];

/** Whether the file is shipped code of a pure room; its tests may do as they like. */
export function mustBePure(path: string): boolean {
  return pureRooms.test(path) && /\.ts$/.test(path) && !/\.test\.ts$/.test(path);
}

/** What is impure in one source, a line each: file, line, rule, and what was found. */
export function purityProblems(path: string, source: string): string[] {
  const code = blankNonCode(source);
  const words = rules.flatMap(([rule, pattern]) =>
    [...code.matchAll(pattern)].map(
      (match) => `${path}:${lineOf(source, match.index)}: ${rule} (found ${match[0].trim()})`,
    ),
  );
  const modules = importsOf(source)
    .filter(({ specifier }) => /^node:|^@rspp\/gen(?:\/|$)/.test(specifier))
    .map(({ specifier, line }) => `${path}:${line}: no node:* and no generated code (found ${specifier})`);
  return [...words, ...modules];
}
