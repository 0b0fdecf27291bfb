/** The replay engine at the command line, over golden recordings: modes, versions, stops, reports, exit statuses. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DivergenceReport } from "@rspp/replay/engine/diff";
import { expect, test } from "vitest";
import { jsonOf, rspp, tempDir } from "./rspp.ts";

const golden = (name: string): string => join(import.meta.dirname, `../replay/golden/${name}.b1-2-3-4.json`);

test("F-127 F-077 F-151 replay and diff: reports, declarations, thresholds and exit statuses for CI", async () => {
  const dir = tempDir();
  const [page, saved, expected] = ["out.html", "out.json", "expected.yaml"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  const recording = JSON.parse(readFileSync(golden("question"), "utf8")) as {
    entries: { batch: { inputs: { body: { type: string; outcome?: string } }[] } }[];
  };
  const last = recording.entries
    .flatMap(({ batch }) => batch.inputs)
    .findLast(({ body }) => body.type === "provider_outcome");
  if (last !== undefined) last.body.outcome = "error";
  const corrupted = join(dir, "corrupted.json");
  writeFileSync(corrupted, JSON.stringify(recording));
  writeFileSync(
    expected,
    "schema: rspp/divergences/v1\nexpected:\n  - {class: PROVIDER_CHOICE, where: {node: llm}, reason: the second model answers}\n",
  );
  const [same, broken, differs, unmet, bad] = await Promise.all([
    rspp(["replay", golden("question"), "--mode", "recorded", "--json"]),
    rspp(["replay", corrupted, "--report", page]),
    rspp(["diff", golden("question"), golden("provider-switch"), "--expect", expected, "--report", saved]),
    rspp(["diff", golden("question"), golden("question"), "--expect", expected]),
    rspp(["diff", golden("question"), join(dir, "nothing.jsonl")]),
  ]);
  expect([same.status, same.stderr]).toEqual([0, ""]);
  expect(jsonOf(same)).toMatchObject({ mode: "recorded", identical: true, report: { ok: true, verdict: "same" } });
  expect([broken.status, broken.stderr]).toEqual([1, ""]);
  expect(broken.stdout).toMatch(/\| OUTCOME \| session \| {2}\| step:\d+ \|.*fails: unexplained/);
  expect(readFileSync(page, "utf8")).toContain('<svg viewBox="');
  expect(differs.status).toBe(1);
  const report = JSON.parse(readFileSync(saved, "utf8")) as DivergenceReport;
  expect(report.divergences.find((one) => one.class === "PROVIDER_CHOICE")).toMatchObject({
    node: "llm",
    declared: { by: "declaration", reason: "the second model answers" },
    fails: false,
  });
  expect(unmet.status).toBe(1);
  expect(unmet.stdout).toContain("PROVIDER_CHOICE at node llm: the second model answers");
  expect([bad.status, bad.stderr]).toEqual([2, expect.stringMatching(/nothing\.jsonl: cannot be read[\s\S]*help: /)]);
});

test("F-152 replay stops at a breakpoint, keeps a cursor, steps on and ends as it would have", async () => {
  const cursor = join(tempDir(), "cursor.json");
  const stopped = await rspp(["replay", golden("barge-in"), "--until", "kind=barge_in,turn=1", "--cursor", cursor]);
  expect([stopped.status, stopped.stderr]).toEqual([0, ""]);
  expect(stopped.stdout).toMatch(/^stopped behind step \d+ [\s\S]*out signal \{"signal":"barge_in"/);
  const stepped = await rspp(["replay", golden("barge-in"), "--step", "2", "--cursor", cursor, "--json"]);
  const { step } = jsonOf<{ step: number }>(stepped);
  expect(step).toBe(Number(/step (\d+)/.exec(stopped.stdout)?.[1]) + 2);
  const [rest, whole, bad] = await Promise.all([
    rspp(["replay", golden("barge-in"), "--until", "turn=99", "--cursor", cursor, "--json"]),
    rspp(["replay", golden("barge-in"), "--mode", "recorded", "--json"]),
    rspp(["replay", golden("barge-in"), "--until", "turn=one"]),
  ]);
  expect(jsonOf<{ digest: string }>(rest).digest).toBe(jsonOf<{ digest: string }>(whole).digest);
  expect([bad.status, bad.stderr]).toEqual([2, expect.stringContaining("write turn=N, kind=NAME")]);
});
