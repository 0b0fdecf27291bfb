import { describe, expect, test } from "vitest";
import { bucketOf, decideRollout } from "./decide.ts";
import { parseRollout, type Rollout, versionsOf } from "./rollout.ts";

const text = `schema: rspp/rollout/v1
rollout: front-desk
stable: 3
canary: {version: 4, percent: 10}
tenants: {acme: 2}
`;

function rolloutOf(source: string): Rollout {
  const read = parseRollout(source, "rollout.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  return read.value;
}
const problemsOf = (source: string) => {
  const read = parseRollout(source, "rollout.yaml");
  return read.ok ? [] : read.error.map(({ line, path, code, remedy }) => [line, path, code, remedy !== ""]);
};
const facts = (sessionId: string, tenantId = "t", variables = {}) => ({ tenantId, sessionId, variables });

describe("F-093 rollouts", () => {
  test("F-093 10 % are 10 % of 10,000 sessions within sampling error, sticky, and independent of other rollouts", () => {
    const rollout = rolloutOf(text);
    const ids = Array.from({ length: 10_000 }, (_, n) => `ses_${n}`);
    const canaries = (one: Rollout) => ids.filter((id) => decideRollout(one, facts(id)).version === 4);
    const first = canaries(rollout);
    // Four standard deviations of a binomial draw: sqrt(10000 * 0.1 * 0.9) = 30.
    expect(Math.abs(first.length - 1_000)).toBeLessThanOrEqual(120);
    expect(canaries(rolloutOf(text))).toEqual(first);
    const twenty = new Set(canaries(rolloutOf(text.replace("percent: 10", "percent: 20"))));
    expect(Math.abs(twenty.size - 2_000)).toBeLessThanOrEqual(160);
    expect(first.filter((id) => !twenty.has(id))).toEqual([]);
    // Drawn anew, one in ten of the first is in the second.
    const again = new Set(canaries(rolloutOf(`${text}salt: again\n`)));
    expect(Math.abs(first.filter((id) => again.has(id)).length - 100)).toBeLessThanOrEqual(40);
    expect(canaries(rolloutOf(text.replace("percent: 10", "percent: 0")))).toEqual([]);
    expect(canaries(rolloutOf(text.replace("percent: 10", "percent: 100")))).toHaveLength(10_000);
  });

  test("F-093 a listed tenant gets its version; a bucket is the same wherever it is drawn", () => {
    const rollout = rolloutOf(text);
    expect(decideRollout(rollout, facts("s", "acme"))).toMatchObject({ version: 2, source: "tenant_list" });
    expect(bucketOf("front-desk", "", "key")).toBe(bucketOf("front-desk", "", "key"));
    expect(bucketOf("front-desk", "", "golden")).toMatchInlineSnapshot(`9428`);
    expect(versionsOf(rollout)).toEqual([3, 4, 2]);
    expect(decideRollout(rollout, facts("s", "constructor")).source).not.toBe("tenant_list");
  });

  test("F-093 sticky by a variable: one caller gets one version over all sessions, one without it by the session", () => {
    const rollout = rolloutOf(`${text}sticky_by: variable caller\n`.replace("percent: 10", "percent: 50"));
    const of = (session: string, caller?: string) =>
      decideRollout(rollout, facts(session, "t", caller === undefined ? {} : { caller })).version;
    for (const caller of ["ada", "bob", "eve", "kim", "lou"].map((name) => JSON.stringify(name))) {
      expect(new Set(Array.from({ length: 50 }, (_, n) => of(`s${n}`, caller))).size).toBe(1);
    }
    expect(new Set(Array.from({ length: 50 }, (_, n) => of("s", `"caller-${n}"`))).size).toBe(2);
    expect(new Set(Array.from({ length: 50 }, (_, n) => of(`s${n}`))).size).toBe(2);
  });

  test.each([
    [`${text}surprise: 1\n`, [[6, "surprise", "unknown_field", true]]],
    [text.replace("stable: 3", "stable: 0"), [[3, "stable", "out_of_range", true]]],
    [text.replace("percent: 10", "percent: 101"), [[4, "canary.percent", "out_of_range", true]]],
    [text.replace("percent: 10", "percent: 0.001"), [[4, "canary.percent", "out_of_range", true]]],
    [text.replace("version: 4", "version: 3"), [[4, "canary.version", "not_allowed", true]]],
    [`${text}sticky_by: moon\n`, [[6, "sticky_by", "bad_format", true]]],
    [text.replace("stable: 3\n", ""), [[1, "stable", "missing_field", true]]],
    [`${text}---\na: 1\n`, [[1, "", "syntax", true]]],
  ])("a fault is told with its place and a remedy: %#", (source, problems) => {
    expect(problemsOf(source)).toEqual(problems);
  });
});
