import { expect, test } from "vitest";
import { checkSchemaVersion } from "./envelope.ts";
import { readableBy, spokenBetween } from "./version-window.ts";

const versions = [1, 2, 3, 4, 5];
const cells = versions.flatMap((mine) => [0, ...versions].map((theirs) => [mine, theirs] as const));

test.each(cells)("NF-032 a receiver of schema version %i meets an event of version %i", (newest, found) => {
  const allowed = found >= 1 && (found === newest || found === newest - 1);
  const problem = checkSchemaVersion(found, newest);
  if (allowed) return expect(problem).toBeNull();
  expect(problem).toMatchObject({
    reason: "unsupported_schema_version",
    metadata: { found: String(found), supported_min: String(Math.max(1, newest - 1)), supported_max: String(newest) },
  });
  // Whoever is behind is the one to be upgraded.
  expect(problem?.remedy).toMatch(found > newest ? /^Upgrade this receiver/ : /^Have the sender write/);
});

test.each(cells)("NF-032 two ends of versions %i and %i speak the older one's, or not at all", (mine, theirs) => {
  const apart = Math.abs(mine - theirs);
  expect(spokenBetween(mine, theirs)).toBe(theirs >= 1 && apart <= 1 ? Math.min(mine, theirs) : null);
  if (theirs >= 1) expect(spokenBetween(theirs, mine)).toBe(spokenBetween(mine, theirs));
});

test("NF-032 the first version has none before it", () => {
  expect(readableBy(1)).toEqual({ min: 1, max: 1 });
});
