/** What callers of the fleet go through, and what must hold for each of them afterwards. */
import { expect } from "vitest";
import type { Caller } from "./fleet-caller.ts";
import { until } from "./fleet-process.ts";
import type { Fleet, RuntimeOfFleet } from "./fleet-rig.ts";
import { REPLY } from "./fleet-spec.ts";

/** Everyone says something at once; settles when all are being answered. */
export async function allTalk(fleet: Fleet): Promise<void> {
  await Promise.all(fleet.callers.map((caller) => talk(caller)));
}

/** A machine that has no time for it lets a turn miss its budget: whoever is not answered asks again. */
export async function talk(caller: Caller): Promise<void> {
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

export async function allHeard(fleet: Fleet): Promise<void> {
  // A machine that has no time for it lets a turn miss its budget: nothing more is said then.
  const over = (caller: Caller) =>
    caller.ends.has(caller.lastTurn) || caller.signals.includes(`abort/${caller.lastTurn}`);
  await until(() => fleet.callers.every(over), "all answers are heard").catch((failure: Error) => {
    const left = fleet.callers.filter((caller) => !over(caller));
    const told = left.map(({ session, endedBy, signals }) => `${session} ${endedBy}: ${signals.join(" ")}`);
    throw new Error(`${failure.message}\n${told.join("\n")}\n${fleet.adapter.errors.slice(-4_000)}`);
  });
}

export interface Loss {
  readonly runtime: RuntimeOfFleet;
  readonly victims: readonly Caller[];
  /** From the loss to the first audio again. */
  readonly gapsMs: readonly number[];
  /** Under which each was held there. */
  readonly epochs: ReadonlyMap<Caller, number>;
}

/** Loses the runtime that holds most sessions, in the middle of its answers. */
export async function lose(fleet: Fleet, how: (runtime: RuntimeOfFleet) => void): Promise<Loss> {
  const gone = fleet.runtimes.filter(({ service }) => !service.running);
  expect(gone.map(({ service, instance }) => `${instance()}: ${service.end}`)).toEqual([]);
  // What was heard before is to be known after.
  if (fleet.callers.some((caller) => caller.ends.size === 0)) await allTalk(fleet);
  const holders = [...(await fleet.holders())].sort((a, b) => b[1].length - a[1].length);
  await allHeard(fleet);
  await allTalk(fleet);
  const [instance = "", victims = []] = holders[0] ?? [];
  const runtime = fleet.runtime(instance);
  const lost = new Map(victims.map((caller) => [caller, caller.lastTurn]));
  const epochs = new Map(victims.map((caller) => [caller, caller.epochs.newest]));
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
  await allHeard(fleet);
  // Nobody else was moved.
  expect(others.map((caller) => caller.lastTurn)).toEqual(otherTurns);
  const now = await fleet.holders();
  expect(now.get(instance) ?? []).toEqual([]);
  for (const caller of victims) await expectIntact(fleet, caller, lost.get(caller) ?? 0);
  return { victims, gapsMs, runtime, epochs };
}

/** One answer, nothing doubled, the open turn closed once, the conversation whole. */
export async function expectIntact(fleet: Fleet, caller: Caller, cut: number): Promise<void> {
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
  // An answer of its own, or the rest of one that was cut before.
  expect(said(earlier, "assistant").trim().length).toBeGreaterThan(10);
  expect(REPLY.endsWith(said(earlier, "assistant").trim())).toBe(true);
  // Where they were not written yet they are heard again: once, whichever turn has them.
  expect(`${said(cut, "user")}${said(cut + 1, "user")}`).toMatch(/^question \d+$/);
  // What was heard of it before and after is the answer, once.
  const whole = `${said(cut, "assistant").trim()} ${said(cut + 1, "assistant").trim()}`.replace(/\s+/g, " ").trim();
  expect(REPLY.startsWith(said(cut, "assistant").trim())).toBe(true);
  expect([whole, said(cut + 1, "assistant").trim()]).toContain(REPLY);
}

/** Calls that were moved as planned: nobody was cut off, nothing was said twice, all was known. */
export async function expectMoved(moved: readonly Caller[], before: ReadonlyMap<Caller, number>): Promise<void> {
  for (const caller of moved) {
    const since = caller.signals.slice(before.get(caller) ?? 0);
    expect([caller.open, since.filter((one) => one.startsWith("reconnecting/"))]).toEqual([true, []]);
    expect(since.filter((one) => one.startsWith("migration_"))).toEqual(["migration_start/0", "migration_finish/0"]);
    expect(since.filter((one) => one.startsWith("abort/"))).toEqual([]);
  }
}
