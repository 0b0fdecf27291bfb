/** Services that die, hang, are cut off or replaced under calls that talk (R3, R4, F8), on processes of their own. */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./fleet-process.ts";
import { Fleet } from "./fleet-rig.ts";
import { REPLY } from "./fleet-spec.ts";
import { allHeard, allTalk, expectMoved, type Loss, lose, talk } from "./fleet-talk.ts";

/** The longer tier: `RSPP_FAILOVER_CALLS=50 RSPP_OUTAGE_MS=45000`, and 100 for the rolling restart. */
const calls = Number(process.env.RSPP_FAILOVER_CALLS ?? 6);
const outageMs = Number(process.env.RSPP_OUTAGE_MS ?? 1);
const stallMs = 1_500;
/** Ends by itself, whatever becomes of the test. */
const burn = "const end = Date.now() + 20_000; while (Date.now() < end);";
const fleet = new Fleet();
const losses: Loss[] = [];

beforeAll(async () => {
  await fleet.start(3);
  for (let n = 0; n < calls; n++) await fleet.call();
}, 120_000);
afterAll(() => fleet.close(), 30_000);

function p95(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.ceil(values.length * 0.95) - 1] ?? 0;
}

/** Bars are judged on a quiet machine: here they are told. */
function tell(what: string, { gapsMs, victims }: Loss, barMs: number): void {
  const line = `R3 ${what}: ${victims.length} of ${calls} calls, first audio again p95 ${Math.round(p95(gapsMs))} ms (bar ${barMs} ms)`;
  process.stdout.write(`${line}\n`);
}

/** A runtime that was lost is reached again: it is fenced, and says so. */
async function expectFenced(loss: Loss): Promise<void> {
  const { runtime, epochs } = loss;
  await until(async () => (await fleet.sessionsAt(runtime)) === 0, "its sessions end");
  for (const [{ session }, epoch] of epochs) await fleet.stale.floorOf(session, `${runtime.instance()}/egress`, epoch);
  losses.push(loss);
}

test("F-096 F-103 R3 kill -9 of a runtime: every call goes on elsewhere with what was said, one answer is given", async () => {
  const loss = await lose(fleet, ({ service }) => service.signal("SIGKILL"));
  tell("kill -9", loss, 1_000);
  expect(loss.victims.length).toBeGreaterThanOrEqual(Math.floor(calls / 3));
  await loss.runtime.service.start();
}, 120_000);

test("F-096 F8 R3 a runtime that hangs and comes back: it is fenced, ends its sessions quietly, and nothing of it is heard", async () => {
  const loss = await lose(fleet, ({ service }) => service.signal("SIGSTOP"));
  tell("SIGSTOP", loss, 6_000);
  const { runtime, victims } = loss;
  const before = victims.map((caller) => [caller.lastTurn, caller.signals.length]);
  runtime.service.signal("SIGCONT");
  await expectFenced(loss);
  expect(victims.map((caller) => [caller.lastTurn, caller.signals.length])).toEqual(before);
  expect(victims.every((caller) => caller.open)).toBe(true);
}, 120_000);

test("F-096 F8 R3 a runtime that is cut off: its calls go on elsewhere, and it is fenced when it is reached again", async () => {
  const loss = await lose(fleet, ({ line }) => line.cut());
  tell("cut network", loss, 6_000);
  await expectFenced(loss);
  loss.runtime.line.mend();
  expect(fleet.callers.every((caller) => caller.open)).toBe(true);
}, 120_000);

test("F-156 F8 R3 nothing of an epoch that is over is taken by any receiver that has acknowledged the new floor", async () => {
  expect(losses.flatMap(({ victims }) => victims).length).toBeGreaterThan(0);
  // The adapter: what it let through to callers, in order.
  const heard = fleet.callers.map(({ epochs }) => epochs);
  expect(Math.min(...heard.map(({ frames }) => frames))).toBeGreaterThan(100);
  expect(heard.map(({ stale }) => stale)).toEqual(heard.map(() => 0));
  // Session state: each write against the lease as it stood.
  const { all, stale } = await fleet.stale.stateWrites();
  expect([all > calls, stale]).toEqual([true, 0]);
  // The timeline, and with it every invocation of the gateway: what the lost runtime recorded, by its instants.
  for (const { victims, epochs, runtime } of losses) {
    for (const caller of victims) {
      const epoch = epochs.get(caller) ?? 0;
      const acked = await fleet.stale.floorOf(caller.session, `${runtime.instance()}/egress`, epoch);
      const records = await fleet.records(caller.session);
      const under = records.filter((record) => record.epoch === epoch);
      expect(under.length).toBeGreaterThan(0);
      expect(under.filter(({ wallMs }) => wallMs > acked)).toEqual([]);
      expect(records.some((record) => record.epoch > epoch)).toBe(true);
    }
  }
}, 60_000);

test("F-157 F-155 a session is handed over in the middle of an answer: it is heard to its end first, the session goes on elsewhere", async () => {
  await allTalk(fleet);
  const [instance = "", callers = []] = [...(await fleet.holders())].find(([, held]) => held.length > 0) ?? [];
  const [caller] = callers;
  if (caller === undefined) throw new Error("nobody is called");
  const { session } = caller;
  const before = new Map([[caller, caller.signals.length]]);
  const turn = caller.lastTurn;
  const target = fleet.runtimes.find((one) => one.service.running && one.instance() !== instance)?.instance() ?? "";
  await fleet.handOver(fleet.runtime(instance), session, target);
  await until(() => caller.signals.slice(before.get(caller)).includes("migration_finish/0"), "the move");
  expect(caller.heardToEnd(turn)).toBe(true);
  expect((await fleet.holders()).get(target) ?? []).toContain(caller);
  await expectMoved([caller], before);
  await talk(caller);
  expect([caller.session, caller.lastTurn > turn]).toEqual([session, true]);
  const { conversation } = await fleet.state(session);
  expect(
    conversation.filter((part) => part.turn === turn && part.role === "assistant").map(({ text }) => text),
  ).toEqual([REPLY]);
  await allHeard(fleet);
}, 120_000);

test("R3 F-096 a fleet that has three times the work of its machine, and runtimes that stand still for a while: nobody is given up", async () => {
  const moves = async () =>
    (await fleet.metric(fleet.adapter, "rspp_websocket_failed_over_total")) +
    (await fleet.metric(fleet.adapter, "rspp_websocket_migrated_total"));
  const before = await moves();
  const holders = [...(await fleet.holders())].map(([instance, held]) => [instance, held.length]);
  const busy = Array.from({ length: 3 * availableParallelism() }, () =>
    spawn(process.execPath, ["-e", burn], { stdio: "ignore" }),
  );
  try {
    const talking = allTalk(fleet);
    for (const { service } of fleet.runtimes) {
      service.signal("SIGSTOP");
      const stalledUntilMs = performance.now() + stallMs;
      await until(() => performance.now() >= stalledUntilMs, "the stall");
      service.signal("SIGCONT");
    }
    await talking;
    await allHeard(fleet);
  } finally {
    for (const one of busy) one.kill("SIGKILL");
  }
  expect(await moves()).toBe(before);
  expect([...(await fleet.holders())].map(([instance, held]) => [instance, held.length])).toEqual(holders);
  expect(fleet.callers.filter((caller) => !caller.open)).toEqual([]);
}, 120_000);

test("F-106 F-113 NF-016 R4 rolling restart of runtimes, adapter, gateway, replay, registry and lease under calls: none is dropped", async () => {
  const held = [...(await fleet.holders())].sort((a, b) => b[1].length - a[1].length);
  // Of few calls one runtime tells as much as all of them.
  for (const [instance, callers] of calls > 10 ? held : held.slice(0, 1)) {
    await allTalk(fleet);
    const { service } = fleet.runtime(instance);
    const before = new Map(callers.map((caller) => [caller, caller.signals.length]));
    expect([instance, await service.stop()]).toEqual([instance, 0]);
    await expectMoved(callers, before);
    await service.start();
    await allHeard(fleet);
  }
  const sessions = fleet.callers.map(({ session }) => session);
  await allTalk(fleet);
  const turns = fleet.callers.map(({ lastTurn }) => lastTurn);
  expect(await fleet.adapter.stop()).toBe(0);
  await fleet.adapter.start();
  const adopted = () => fleet.metric(fleet.adapter, "rspp_websocket_adopted_total");
  await until(async () => (await adopted()) === calls, "all come back");
  // What had been heard of the answer is not said again; the rest is a turn of its own.
  await allHeard(fleet);
  expect(fleet.callers.map(({ session }) => session)).toEqual(sessions);
  for (const [i, { session, signals }] of fleet.callers.entries()) {
    // A machine that has no time for it lets a turn miss its budget: that answer is given up.
    if (signals.includes(`abort/${turns[i]}`)) continue;
    let whole = "";
    const told = async (): Promise<boolean> => {
      const { conversation } = await fleet.state(session);
      const parts = conversation.filter(({ role, turn }) => role === "assistant" && turn >= (turns[i] ?? 0));
      whole = parts.map(({ text }) => text.trim()).join(" ");
      return whole.includes(REPLY);
    };
    // What was heard is known when its delivery is.
    await until(told, "the whole answer").catch(() => expect([turns[i], whole, signals]).toEqual([0, REPLY, []]));
    expect(whole.length).toBeLessThan(REPLY.length + 8);
  }
  for (const service of [fleet.gateway, fleet.replay, fleet.registry, fleet.lease]) {
    const talking = calls > 10 ? allTalk(fleet) : null;
    await service.stop();
    await service.start();
    await talking;
  }
  await allTalk(fleet);
  await allHeard(fleet);
  expect(fleet.callers.filter((caller) => !caller.open)).toEqual([]);
}, 400_000);

test("R3 F-103 while PostgreSQL, registry and lease are gone no call ends; new ones are told, and come in when they are back", async () => {
  fleet.databaseLine.takeAway();
  await Promise.all([fleet.registry.stop("SIGKILL"), fleet.lease.stop("SIGKILL")]);
  const end = performance.now() + outageMs;
  await expect(fleet.call()).rejects.toThrow(/registry|unavailable|connect/i);
  do {
    await allTalk(fleet);
    await allHeard(fleet);
  } while (performance.now() < end);
  fleet.databaseLine.giveBack();
  await Promise.all([fleet.registry.start(), fleet.lease.start()]);
  expect(fleet.callers.filter((caller) => !caller.open)).toEqual([]);
  await until(
    () =>
      fleet.call().then(
        () => true,
        () => false,
      ),
    "a new call",
  );
  await allTalk(fleet);
}, 300_000);
