/** Patterns of variables run on what callers give: only those that end soon are accepted (`limits.ts`). */
import { PATTERN_CHARS_MAX } from "./limits.ts";

const unboundedMax = 3;

/** Why the pattern is refused, in words; null for one that may run on PATTERN_VALUE_CHARS_MAX characters. */
export function patternFault(pattern: string): string | null {
  if (pattern.length > PATTERN_CHARS_MAX) return `has more than ${PATTERN_CHARS_MAX} characters`;
  if (/\\[1-9k]|\(\?(?!:)/.test(pattern)) return "refers back, looks around or names a group, which takes too long";
  // Without sets and escapes, so that what is left of ( ) * + { } acts.
  const bare = pattern.replace(/\\./g, "x").replace(/\[[^\]]*\]/g, "x");
  if (/\)([*+]|\{\d*,?\d*\})/.test(bare)) return "repeats a group, which takes too long";
  if ((bare.match(/[*+]|\{\d+,\d*\}/g) ?? []).length > unboundedMax) {
    return `repeats more than ${unboundedMax} times, which takes too long`;
  }
  try {
    new RegExp(pattern, "u");
    return null;
  } catch {
    return "is no regular expression";
  }
}

/** Whether the whole text matches; the pattern must have been accepted. */
export function matchesPattern(pattern: string, text: string): boolean {
  return new RegExp(`^(?:${pattern})$`, "u").test(text);
}
