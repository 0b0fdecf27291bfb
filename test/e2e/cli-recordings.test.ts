/** Recordings that were made under pressure: what was not kept is not held against them. */
import { join } from "node:path";
import { configOf, type Recording, reExecute } from "@rspp/replay/re-execute";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { readSession } from "@rspp/runtime/spool/reader";
import { expect, test } from "vitest";
import { problemsOf } from "./cli-rig.ts";
import { jsonOf, rspp, tempDir } from "./rspp.ts";

test("F-153 a recording whose level was lowered is re-executed over its recorded decisions, and is identical", async () => {
  const dir = tempDir();
  const data = join(dir, "d");
  const demo = await rspp(["demo", "--once", "--fast", "--json", "--data", data, "--out", join(dir, "o.wav")]);
  expect(problemsOf(demo, 0)).toBe("");
  const { session } = jsonOf<{ session: string }>(demo);
  const store = openNodeStore(join(data, "spool"), { readOnly: true });
  if (!store.ok) throw new Error(store.error.detail);
  const run = readSession(store.value, session).runs.at(-1);
  if (run === undefined) throw new Error("nothing was recorded");
  const config = configOf(run);
  if (config === null) throw new Error("no journal was recorded");
  expect(reExecute(session, config, run, [])).toMatchObject({ level: "effects", identical: true });
  // The export lagged: from some step on no payload was kept (kernel.md §11), which the record says.
  const kept = [...run.payloads].slice(0, 5);
  const lowered = { kind: "recording_level", policyId: "p", from: "L2", to: "L1", trigger: "export_lag", monoNs: 1 };
  const poorer: Recording = { ...run, payloads: new Map(kept), records: [...run.records, { content: lowered }] };
  const replayed = reExecute(session, config, poorer, []);
  expect(replayed).toMatchObject({ level: "handles", identical: true, divergences: [] });
});
