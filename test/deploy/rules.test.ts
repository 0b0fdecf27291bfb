/** NF-005, F-052, X-10: alert rules fire when they should and only then, and nothing refers to what is not there. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { has, root } from "../polyglot/tools.ts";

const run = promisify(execFile);
const read = (path: string): string => readFileSync(join(root, path), "utf8");

describe.skipIf(!(await has("promtool", "--version")))("NF-005 alert rules", () => {
  test("NF-005 F-052 burn-rate, budget, gate and overhead alerts fire when they should, and not when callers interrupt", async () => {
    const dir = join(root, "deploy/prometheus");
    await run("promtool", ["check", "rules", join(dir, "rules.yaml")]);
    const { stdout, stderr } = await run("promtool", ["test", "rules", join(dir, "rules.test.yaml")]);
    expect(stdout + stderr).toContain("SUCCESS");
  });
});

test("X-10 dashboards and rules use metrics that exist, and every alert leads to a page that does", () => {
  const metrics = new Set([...read("docs/metrics.md").matchAll(/`(rspp_[a-z0-9_]+)`/g)].map(([, name]) => name));
  for (const path of ["deploy/prometheus/rules.yaml", "deploy/dashboards/rspp.json"]) {
    const used = [...read(path).matchAll(/\brspp_[a-z0-9_]+/g)].map(([name]) => name);
    const unknown = used.filter(
      (name) => !metrics.has(name) && !metrics.has(name.replace(/_(?:bucket|count|sum)$/, "")),
    );
    expect([path, unknown]).toEqual([path, []]);
    expect(used.length).toBeGreaterThan(10);
  }
  const headings = new Set([...read("docs/runbooks.md").matchAll(/^## (.+)$/gm)].map(([, name]) => name));
  const { groups } = parse(read("deploy/prometheus/rules.yaml")) as {
    groups: { rules: { alert?: string; annotations?: { runbook?: string } }[] }[];
  };
  for (const { alert, annotations } of groups.flatMap(({ rules }) => rules)) {
    if (alert === undefined) continue;
    const [page, heading] = (annotations?.runbook ?? "").split("#");
    expect([alert, page, headings.has(heading)]).toEqual([alert, "docs/runbooks.md", true]);
  }
});
