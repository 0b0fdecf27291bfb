/** Runtimes that die, hang or are cut off under calls that talk (R3, F8), on processes of their own. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Caller } from "./fleet-caller.ts";
import { until } from "./fleet-process.ts";
import { Fleet, type RuntimeOfFleet } from "./fleet-rig.ts";
import { REPLY } from "./fleet-spec.ts";

const calls = Number(process.env.RSPP_FAILOVER_CALLS ?? 10);
const fleet = new Fleet();

beforeAll(async () => {
  await fleet.start(3);
  for (let n = 0; n < calls; n++) await fleet.call();
}, 120_000);
afterAll(() => fleet.close(), 30_000);

/** Everyone says something at once; settles when all are being answered. */
async function allTalk(): Promise<void> {
  await Promise.all(fleet.callers.map((caller) => talk(caller)));
}

/** A machine that has no time for it lets a turn miss its budget: whoever is not answered asks again. */
async function talk(caller: Caller): Promise<void> {
  for (let tries = 0; tries < 5; tries++) {
    const before = caller.lastTurn;
    await caller.speak();
    const given = () => caller.signals.some((one) => one.startsWith("abort/") && Number(one.slice(6)) > before);
    const answered = () => (caller.heard.get(caller.lastTurn)?.length ?? 0) > 10 && caller.lastTurn > before;
    await until(() => answered() || given(), "an answer", 10_000).catch(() => undefined);
    if (answered()) return;
  }
  throw new Error(`in vain: an answer for ${caller.session}: ${caller.signals.join(" ")}`);
}

async function allHeard(): Promise<void> {
  await until(() => fleet.callers.every((caller) => caller.ends.has(caller.lastTurn)), "all answers are heard");
}

interface Loss {
  readonly victims: readonly Caller[];
  readonly gapsMs: number[];
}

/** Loses the runtime that holds most sessions, in the middle of its answers. */
async function lose(how: (runtime: RuntimeOfFleet) => void): Promise<Loss & { readonly runtime: RuntimeOfFleet }> {
  await allTalk();
  const holders = [...(await fleet.holders())].sort((a, b) => b[1].length - a[1].length);
  await allHeard();
  await allTalk();
  const [instance = "", victims = []] = holders[0] ?? [];
  const runtime = fleet.runtime(instance);
  const lost = new Map(victims.map((caller) => [caller, caller.lastTurn]));
  const others = fleet.callers.filter((caller) => !victims.includes(caller));
  const otherTurns = others.map((caller) => caller.lastTurn);
  const atMs = performance.now();
  how(runtime);
  const answered = (caller: Caller): number => caller.firstMs.get((lost.get(caller) ?? 0) + 1) ?? 0;
  // Who had been sent all of it hears it to its end.
  const wasHeard = (caller: Caller): boolean => caller.ends.has(lost.get(caller) ?? 0);
  await until(
    () => victims.every((caller) => answered(caller) > 0 || wasHeard(caller)),
    "first audio again of all",
  ).catch((failure: Error) => {
    const told = victims.map((caller) => `${caller.session}: ${caller.signals.join(" ")}`).join("\n");
    throw new Error(`${failure.message}\n${told}\n${fleet.adapter.errors.slice(-4_000)}`);
  });
  const gapsMs = victims.filter((caller) => answered(caller) > 0).map((caller) => answered(caller) - atMs);
  await allHeard();
  // Nobody else was moved.
  expect(others.map((caller) => caller.lastTurn)).toEqual(otherTurns);
  const now = await fleet.holders();
  expect(now.get(instance) ?? []).toEqual([]);
  for (const caller of victims) await expectIntact(caller, lost.get(caller) ?? 0);
  return { victims, gapsMs, runtime };
}

/** One answer, nothing doubled, the open turn closed once, the conversation whole. */
async function expectIntact(caller: Caller, cut: number): Promise<void> {
  expect(caller.open).toBe(true);
  for (const [turn, sequences] of caller.heard) {
    const rising = sequences.every((sequence, i) => i === 0 || sequence > (sequences[i - 1] ?? 0));
    expect([turn, rising]).toEqual([turn, true]);
  }
  for (let turn = 1; turn <= caller.lastTurn; turn++) {
    const terminals = caller.signals.filter((one) => one === `commit/${turn}` || one === `abort/${turn}`);
    expect([turn, terminals.length]).toEqual([turn, 1]);
    expect([turn, caller.signals.filter((one) => one === `close/${turn}`).length]).toEqual([turn, 1]);
  }
  expect(caller.signals).toContain("reconnecting/0");
  await until(async () => (await fleet.state(caller.session)).lastTurn === caller.lastTurn, "the state is written");
  if (caller.ends.has(cut)) return;
  expect(caller.signals.filter((one) => one === `turn_open/${cut + 1}`)).toHaveLength(1);
  let { conversation } = await fleet.state(caller.session);
  const said = (turn: number, role: string) =>
    conversation
      .filter((part) => part.turn === turn && part.role === role)
      .map(({ text }) => text)
      .join("");
  // What was heard of the last answer is known when its delivery is, after the turn.
  await until(
    async () => {
      ({ conversation } = await fleet.state(caller.session));
      return said(cut + 1, "assistant")
        .trim()
        .endsWith("ends here.");
    },
    "what was heard is written",
    10_000,
  ).catch(() => undefined);
  const earlier = Math.max(...[...caller.ends].filter((turn) => turn < cut));
  expect(said(earlier, "assistant")).toBe(REPLY);
  expect(said(cut, "user")).toMatch(/^question/);
  // What was heard of it before and after is the answer, once.
  const whole = `${said(cut, "assistant").trim()} ${said(cut + 1, "assistant").trim()}`.replace(/\s+/g, " ").trim();
  expect(REPLY.startsWith(said(cut, "assistant").trim())).toBe(true);
  expect([whole, said(cut + 1, "assistant").trim()]).toContain(REPLY);
}

function p95(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.ceil(values.length * 0.95) - 1] ?? 0;
}

/** Bars are judged on a quiet machine; a bound that no working fleet passes here. */
function tell(what: string, { gapsMs, victims }: Loss, barMs: number): void {
  const line = `R3 ${what}: ${victims.length} of ${calls} calls, first audio again p95 ${Math.round(p95(gapsMs))} ms (bar ${barMs} ms)`;
  process.stdout.write(`${line}\n`);
}

test("F-096 F-103 R3 kill -9 of a runtime: every call goes on elsewhere with what was said, one answer is given", async () => {
  const loss = await lose(({ service }) => service.signal("SIGKILL"));
  tell("kill -9", loss, 1_000);
  expect(loss.victims.length).toBeGreaterThanOrEqual(Math.floor(calls / 3));
  await fleet.addRuntime();
}, 120_000);

test("F-096 F8 R3 a runtime that hangs and comes back: it is fenced, ends its sessions quietly, and nothing of it is heard", async () => {
  const loss = await lose(({ service }) => service.signal("SIGSTOP"));
  tell("SIGSTOP", loss, 6_000);
  const { runtime, victims } = loss;
  const before = victims.map((caller) => [caller.lastTurn, caller.signals.length]);
  runtime.service.signal("SIGCONT");
  await until(async () => (await fleet.sessionsAt(runtime)) === 0, "its sessions end");
  expect(victims.map((caller) => [caller.lastTurn, caller.signals.length])).toEqual(before);
  expect(victims.every((caller) => caller.open)).toBe(true);
  await fleet.addRuntime();
}, 120_000);

test("F-096 F8 R3 a runtime that is cut off: its calls go on elsewhere, and it is fenced when it is reached again", async () => {
  const loss = await lose(({ line }) => line.cut());
  tell("cut network", loss, 6_000);
  const { runtime } = loss;
  await until(async () => (await fleet.sessionsAt(runtime)) === 0, "its sessions end");
  runtime.line.mend();
  await allTalk();
  await allHeard();
  expect(fleet.callers.every((caller) => caller.open)).toBe(true);
}, 120_000);

/** Calls that were moved as planned: nobody was cut off, nothing was said twice, all was known. */
async function expectMoved(moved: readonly Caller[], before: ReadonlyMap<Caller, number>): Promise<void> {
  for (const caller of moved) {
    const since = caller.signals.slice(before.get(caller) ?? 0);
    expect([caller.open, since.filter((one) => one.startsWith("reconnecting/"))]).toEqual([true, []]);
    expect(since.filter((one) => one.startsWith("migration_"))).toEqual(["migration_start/0", "migration_finish/0"]);
    expect(since.filter((one) => one.startsWith("abort/"))).toEqual([]);
  }
}

test("F-157 F-155 a session is handed over in the middle of an answer: it is heard to its end first, the session goes on elsewhere", async () => {
  await allTalk();
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
  await allHeard();
  await expectMoved([caller], before);
  await talk(caller);
  await until(() => caller.ends.has(caller.lastTurn), "an answer");
  expect([caller.session, caller.lastTurn > turn]).toEqual([session, true]);
  await until(async () => (await fleet.state(session)).lastTurn === caller.lastTurn, "the state is written");
  const { conversation } = await fleet.state(session);
  expect(
    conversation.filter((part) => part.turn === turn && part.role === "assistant").map(({ text }) => text),
  ).toEqual([REPLY]);
}, 120_000);

test("F-106 F-113 NF-016 R4 rolling restart of runtimes, registry and lease under calls: none is dropped", async () => {
  for (const old of fleet.runtimes.filter((one) => one.service.running)) {
    const held = (await fleet.holders()).get(old.instance()) ?? [];
    // Of those that hold nothing there is always another one left.
    if (held.length === 0) continue;
    await fleet.addRuntime();
    await allTalk();
    const before = new Map(held.map((caller) => [caller, caller.signals.length]));
    expect([old.instance(), await old.service.stop()]).toEqual([old.instance(), 0]);
    await expectMoved(held, before);
    await allHeard();
  }
  for (const service of [fleet.registry, fleet.lease]) {
    await allTalk();
    await service.stop();
    await service.start();
    await allHeard();
  }
  await allTalk();
  await allHeard();
  expect(fleet.callers.filter((caller) => !caller.open)).toEqual([]);
}, 300_000);

test("R3 F-103 while registry and lease are gone no call ends; new ones are told, and come in when they are back", async () => {
  const outageMs = Number(process.env.RSPP_OUTAGE_MS ?? 8_000);
  await Promise.all([fleet.registry.stop("SIGKILL"), fleet.lease.stop("SIGKILL")]);
  const end = performance.now() + outageMs;
  const refused = fleet.call();
  await expect(refused).rejects.toThrow();
  while (performance.now() < end) {
    await allTalk();
    await allHeard();
  }
  await Promise.all([fleet.registry.start(), fleet.lease.start()]);
  await allTalk();
  await allHeard();
  expect(fleet.callers.filter((caller) => !caller.open)).toEqual([]);
  await until(
    () =>
      fleet.call().then(
        () => true,
        () => false,
      ),
    "a new call",
  );
  await allTalk();
}, 300_000);
