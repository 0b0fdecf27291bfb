/**
 * Three lease replicas on one PostgreSQL are asked by several clients at once while they are killed and stopped: is what the
 * clients heard what one sequential lease would have said? (kernel.md §7)
 *
 * RSPP_LINEARIZE_OPERATIONS: how many calls, default 450 (the check of a clone); RSPP_LINEARIZE_SEED: which ones.
 */
import { setTimeout as pause } from "node:timers/promises";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Rng } from "../sim/rng.ts";
import { checkLinearizable } from "./checker.ts";
import { leaseModel } from "./lease-model.ts";
import { type LeaseOperation, Recorder, tenantId } from "./lease-recorder.ts";
import { type Replica, type Replicas, startReplicas } from "./lease-replicas.ts";
import { runWorkload } from "./lease-workload.ts";

const operations = Number(process.env.RSPP_LINEARIZE_OPERATIONS ?? 450);
const seed = Number(process.env.RSPP_LINEARIZE_SEED ?? 1);
const clients = 6;
/** Between two troubles the clients get so many calls through, however slow the machine is… */
const callsBetween = 40;
/** …unless they get none through any more. */
const quietMaxMs = 5_000;
/** At 600 calls a minute nothing is shown by waiting on. */
const timeMaxMs = 60_000 + operations * 100;

let replicas: Replicas;

beforeAll(async () => {
  replicas = await startReplicas(3);
}, 120_000);
afterAll(async () => {
  await replicas.close();
});

/** Replicas are killed and stopped, also one while another is away; one at least goes on. */
async function trouble(recorder: Recorder, enough: () => boolean, random: () => number) {
  const done = { kills: 0, pauses: 0 };
  const under: Promise<void>[] = [];
  while (!enough()) {
    const next = recorder.count() + callsBetween;
    const waitMaxMs = performance.now() + quietMaxMs;
    while (!enough() && recorder.count() < next && performance.now() < waitMaxMs) await pause(10);
    const up = replicas.all.filter(({ running, stopped }) => running !== null && !stopped);
    const replica = up[Math.floor(random() * up.length)];
    if (up.length < 2 || replica === undefined || enough()) continue;
    if ((done.kills + done.pauses) % 3 === 1) {
      done.kills++;
      under.push(replicas.kill(replica));
    } else {
      // Every other time longer than the database lets a transaction idle.
      under.push(replicas.suspend(replica, done.pauses++ % 2 === 0 ? 500 : 2_600));
    }
  }
  await Promise.all(under);
  return done;
}

test(
  "F-095 NF-027 what clients of three replicas hear, through kills and pauses, is linearizable session by session",
  async () => {
    const recorder = new Recorder();
    const rng = new Rng(String(seed), "lease calls");
    const random = () => rng.float(0, 1);
    const watched = watchAll(replicas.all);
    const untilMs = performance.now() + timeMaxMs;
    const enough = () => recorder.count() >= operations || performance.now() > untilMs;
    const [, { kills, pauses }] = await Promise.all([
      runWorkload({ replicas, recorder, clients, enough, random }),
      trouble(recorder, enough, random),
    ]);
    watched.stop();
    const histories = recorder.histories();
    const all = [...histories.values()].flat();
    const lost = all.filter(({ output }) => output === undefined).length;
    const verdicts = [...histories].map(([session, history]) => {
      return { session, verdict: checkLinearizable(leaseModel, sorted(history)) };
    });
    const wrong = verdicts.filter(({ verdict }) => verdict.kind !== "linearizable");
    const steps = verdicts.reduce((sum, { verdict }) => sum + ("steps" in verdict ? verdict.steps : 0), 0);
    process.stdout.write(
      `${all.length} operations over ${histories.size} sessions, ${lost} with lost answers, ${kills} kills, ` +
        `${pauses} pauses, seed ${seed}: ${verdicts.length - wrong.length} linearizable (${steps} steps)\n`,
    );
    expect(wrong).toEqual([]);
    expect(epochsOfTwo(histories)).toEqual([]);
    expect(watched.problems(histories)).toEqual([]);
    // Something was tried: calls that were carried out and refused, answers that were lost.
    expect(all.filter(({ output }) => output?.ok).length).toBeGreaterThan(operations / 5);
    expect(all.filter(({ output }) => output?.ok === false).length).toBeGreaterThan(operations / 20);
    expect(lost).toBeGreaterThan(0);
    expect(kills).toBeGreaterThan(0);
    expect(pauses).toBeGreaterThan(0);
  },
  timeMaxMs + 120_000,
);

function sorted(history: readonly LeaseOperation[]): readonly LeaseOperation[] {
  return [...history].sort((a, b) => a.called - b.called);
}

/** Epochs are counted over all sessions: none is ever seen in two, nor with two holders. */
function epochsOfTwo(histories: ReadonlyMap<string, readonly LeaseOperation[]>): string[] {
  const owners = new Map<number, string>();
  const wrong: string[] = [];
  for (const [session, history] of histories) {
    for (const { output, input } of history) {
      if (!output?.ok || input.kind === "lapse") continue;
      const owner = `${session} ${output.holder}`;
      const before = owners.get(output.epoch) ?? owner;
      if (before !== owner) wrong.push(`${output.epoch}: ${before}, ${owner}`);
      owners.set(output.epoch, before);
    }
  }
  return wrong;
}

/** A watch of each replica, until it ends with it: what it tells of a session only rises, and agrees with the answers. */
function watchAll(all: readonly Replica[]) {
  const stopping = new AbortController();
  const told: { replica: string; session: string; epoch: number; holder: string }[] = [];
  for (const { name, running } of all) {
    if (running === null) continue;
    void (async () => {
      const watch = running.rpc.client(LeaseService).watchLeases({ tenantId }, { signal: stopping.signal });
      for await (const { changes } of watch) {
        for (const { lease } of changes) {
          const { grant } = lease ?? {};
          if (grant === undefined) continue;
          const session = grant.session?.sessionId ?? "";
          told.push({ replica: name, session, epoch: Number(grant.epoch), holder: grant.holderId });
        }
      }
    })().catch(() => undefined);
  }
  return {
    stop: () => stopping.abort(),
    problems: (histories: ReadonlyMap<string, readonly LeaseOperation[]>): string[] => {
      const holders = new Map<number, string>();
      for (const { output, input } of [...histories.values()].flat()) {
        if (output?.ok && input.kind !== "lapse") holders.set(output.epoch, output.holder);
      }
      const last = new Map<string, number>();
      const wrong = told.flatMap(({ replica, session, epoch, holder }) => {
        const known = holders.get(epoch) ?? holder;
        const before = last.get(`${replica} ${session}`) ?? 0;
        last.set(`${replica} ${session}`, epoch);
        return known === holder && epoch >= before ? [] : [`${replica} ${session}: ${before}, ${epoch} of ${holder}`];
      });
      return told.length > 20 ? wrong : [`only ${told.length} changes were told`, ...wrong];
    },
  };
}
