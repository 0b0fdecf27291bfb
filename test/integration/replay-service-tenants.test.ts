/** Two tenants' sessions of one id through spool, export and replay: two recordings, each with its own words. */
import { replaySession } from "@rspp/cli/replay-session";
import { replayTimeline } from "@rspp/replay/recording";
import { bench } from "@rspp/runtime/testing/bench";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createReplayRig, type Rig, refusal } from "./replay-rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await createReplayRig();
});
afterAll(() => rig.close());

test("F-150 the same session id of two tenants, both live, is exported and replayed as two sessions", async () => {
  const b = bench();
  const recording = { policyId: "p", ceiling: "L2", evidenceQuotaBytes: 262_144 } as const;
  const [acme, globex] = ["acme", "globex"].map((tenantId) => b.open({ tenantId, sessionId: "same", recording }));
  if (acme === undefined || globex === undefined) throw new Error("both are open");
  await b.talk(acme.line, 20, 60);
  await b.talk(globex.line, 20, 20);
  await b.pass(3_000);
  await b.talk(globex.line, 20, 60);
  await b.pass(3_000);
  for (const { session } of [acme, globex]) session.operator("end");
  await b.pass(2_000);
  await b.spool.sync();
  const exporter = rig.exporter(b.spool, b.store);
  await exporter.idle();
  expect(exporter.stats()).toMatchObject({ halted: 0 });
  await exporter.stop();
  const turns: number[] = [];
  for (const tenantId of ["acme", "globex"]) {
    const session = { tenantId, sessionId: "same" };
    const records = await rig.read({ session });
    expect(records.every((record) => record.session?.tenantId === tenantId)).toBe(true);
    expect(await rig.timelines.verifyTimeline({ session })).toMatchObject({ chainIntact: true, faults: [] });
    const fromSpool = replaySession(b.store, "same", tenantId);
    expect(fromSpool).toMatchObject({ identical: true, ended: true, problems: [] });
    expect(replayTimeline(records)).toEqual({ ok: true, value: fromSpool });
    turns.push(fromSpool.turns.length);
    expect(b.spool.marks({ ...session, epoch: 1 }).exported).toBeGreaterThan(0);
  }
  expect(turns[1]).toBeGreaterThan(turns[0] ?? 0);
  expect((await refusal(rig.read({ session: { tenantId: "third", sessionId: "same" } }))).name).toBe(
    "SESSION_NOT_FOUND",
  );
});
