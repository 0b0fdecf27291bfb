/** `kill -9` of each service in turn while people talk: what ends, what goes on, what is lost (docs/operations.md). */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toBinary } from "@bufbuild/protobuf";
import type { SessionKey } from "@rspp/gen/rspp/common/v1/reference_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { connectRpc } from "@rspp/rpc/clients";
import { afterAll, beforeAll, expect, test } from "vitest";
import { template } from "./rspp.ts";
import { type Caller, call, question, type Up, until, upWith } from "./up-rig.ts";

const folder = mkdtempSync(join(tmpdir(), "rspp-kill-"));
let platform: Up;
const rpc = (service: string) => connectRpc({ baseUrl: platform.line(service).url, domain: service, attemptsMax: 1 });

beforeAll(async () => {
  platform = await upWith({ kept: true, cwd: folder }, join(folder, "data"), "--processes");
  // Everything of a call is to be recorded, so that what is lost would show.
  const source = readFileSync(template, "utf8").replace("level: L0", "level: L2");
  const ask = { tenantId: "local", source: new TextEncoder().encode(source), author: "test" };
  await rpc("registry").client(RegistryService).publishPipeline(ask);
}, 120_000);

afterAll(async () => {
  platform?.running.child.kill("SIGTERM");
  const end = await platform?.running.finished;
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  expect(end?.status).toBe(0);
}, 60_000);

const told = (caller: Caller) => () =>
  `${JSON.stringify({ turns: caller.turns, said: caller.said(), states: caller.states })}\n${platform.running.text()}`;

/** Kills it; resolves when it is ready again, where it was. */
async function kill(service: string): Promise<void> {
  const before = platform.line(service);
  const times = platform.lines(service).length;
  process.kill(before.pid, "SIGKILL");
  await until(() => platform.lines(service).length > times, `${service} is back`, 60_000, platform.running.text);
  const after = platform.line(service);
  expect([after.port, after.stream_port, after.addresses]).toEqual([before.port, before.stream_port, before.addresses]);
  expect(after.pid).not.toBe(before.pid);
}

/** Greeted, and now being told a story. */
async function callInStory(): Promise<Caller> {
  const caller = await call(platform.registry);
  await until(() => caller.heard.some(({ turn, end }) => turn === 1 && end), "the greeting", 30_000, told(caller));
  caller.say(await question("question-1"));
  await until(() => caller.heardMs(2) >= 1_000, "the story", 30_000, told(caller));
  return caller;
}

/** Interrupts with the other question and is answered; who is not understood says it again, as people do. */
async function goesOn(caller: Caller, tries = 1): Promise<void> {
  const turns = Math.max(...caller.turns.map(({ turn }) => turn));
  const answered = (): boolean => caller.heard.some(({ turn, end }) => turn > turns && end);
  for (let left = tries; left > 1 && !answered(); left--) {
    caller.say(await question("question-2"));
    await until(answered, "the next answer", 12_000).catch(() => undefined);
  }
  if (!answered()) caller.say(await question("question-2"));
  await until(answered, "the next answer", 45_000, told(caller));
  expect(caller.said().at(-1)).toBe("how many days are in february");
  expect(caller.afterFlush()).toBe(0);
  expect(caller.states.map(({ state }) => state)).not.toContain("closed");
}

/** A call as if nothing had been; what is refused meanwhile says that it may be repeated. */
async function newCall(): Promise<Caller> {
  const endMs = performance.now() + 30_000;
  for (;;) {
    const caller = await call(platform.registry).catch((failure: unknown) => failure as Error);
    if (!(caller instanceof Error)) {
      await until(() => caller.heardMs(1) > 0, "a greeting", 15_000, told(caller));
      return caller;
    }
    expect(caller.message).toMatch(/dependency_unavailable|capacity_exhausted|not within|cannot be reached|no answer/);
    if (performance.now() > endMs) throw caller;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const keyOf = ({ route }: Caller): SessionKey => {
  if (route.session === undefined) throw new Error("a route without session");
  return route.session;
};

/** What the replay service has acknowledged of a session, record by record. */
async function records(session: SessionKey): Promise<string[]> {
  const found: string[] = [];
  for await (const { records: some } of rpc("replay").client(TimelineService).readTimeline({ session })) {
    found.push(...some.map((record) => Buffer.from(toBinary(TimelineRecordSchema, record)).toString("base64")));
  }
  return found;
}

interface Timeline {
  readonly chainIntact: boolean;
  readonly complete: boolean;
  readonly turnsWithEvidence: number;
  readonly turnsWithoutEvidence: number;
}

/** The timeline once it says so, and that it begins with what was acknowledged before. */
async function timeline(
  session: SessionKey,
  wanted: (timeline: Timeline) => boolean,
  acknowledged: readonly string[] = [],
): Promise<Timeline> {
  const endMs = performance.now() + 60_000;
  for (;;) {
    // A session is known with its first exported record.
    const late = performance.now() > endMs;
    const asked = rpc("replay").client(TimelineService).verifyTimeline({ session });
    const found = await asked.catch((failure: unknown) => (late ? Promise.reject(failure) : null));
    if (found !== null && (wanted(found) || late)) {
      const { chainIntact, complete, turnsWithEvidence, turnsWithoutEvidence, faults } = found;
      expect(faults).toEqual([]);
      expect((await records(session)).slice(0, acknowledged.length)).toEqual(acknowledged);
      return { chainIntact, complete, turnsWithEvidence, turnsWithoutEvidence };
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const complete = ({ complete }: Timeline): boolean => complete;
const whole = { chainIntact: true, complete: true, turnsWithEvidence: 3, turnsWithoutEvidence: 0 };

test("F-119 F-150 the registry: calls go on, versions stay, status comes back", async () => {
  const caller = await callInStory();
  const registry = rpc("registry").client(RegistryService);
  const versions = (await registry.listPipelines({ tenantId: "local" })).versions.map(({ digest }) => digest);
  await kill("registry");
  await goesOn(caller);
  expect((await registry.listPipelines({ tenantId: "local" })).versions.map(({ digest }) => digest)).toEqual(versions);
  const { status } = await registry.getSessionStatus({ session: keyOf(caller) });
  expect(status).toMatchObject({ stale: false, info: { state: SessionState.ACTIVE } });
  await (await newCall()).hangUp();
  await caller.hangUp();
  expect(await timeline(keyOf(caller), complete)).toEqual(whole);
}, 120_000);

test("F-150 the lease service: calls go on under the epoch they have, which no later call is given", async () => {
  const caller = await callInStory();
  const leases = rpc("lease").client(LeaseService);
  const epoch = async (session: SessionKey) => (await leases.getLease({ session })).lease?.grant?.epoch ?? 0n;
  const before = await epoch(keyOf(caller));
  await kill("lease");
  await goesOn(caller);
  expect(await epoch(keyOf(caller))).toBe(before);
  const other = await newCall();
  expect(await epoch(keyOf(other))).toBeGreaterThan(before);
  await other.hangUp();
  await caller.hangUp();
  expect(await timeline(keyOf(caller), complete)).toEqual(whole);
}, 120_000);

test("F-150 F-154 replay: calls go on, what was acknowledged is there, the rest comes when it is back", async () => {
  const caller = await callInStory();
  const acknowledged = await records(keyOf(caller));
  expect(acknowledged.length).toBeGreaterThan(0);
  await kill("replay");
  await goesOn(caller);
  await caller.hangUp();
  expect(await timeline(keyOf(caller), complete, acknowledged)).toEqual(whole);
}, 120_000);

test("F-150 the provider gateway: calls go on; what it was at ends, the next words are understood and answered", async () => {
  const caller = await callInStory();
  await kill("provider-gateway");
  await goesOn(caller, 3);
  await caller.hangUp();
  expect(await timeline(keyOf(caller), complete)).toMatchObject({ chainIntact: true, complete: true });
}, 120_000);

test("F-096 F-150 F-159 the runtime: its calls go on as soon as there is one again, new ones are taken, what was acknowledged is there", async () => {
  const caller = await callInStory();
  const acknowledged = await records(keyOf(caller));
  await kill("runtime");
  const other = await newCall();
  // The story is taken up again, or told anew, by the one that takes its place.
  await until(() => caller.heardMs(3) > 0, "the rest of the answer", 60_000, told(caller));
  expect(caller.states).toEqual([]);
  await other.hangUp();
  expect(await timeline(keyOf(other), complete)).toMatchObject({ chainIntact: true, complete: true });
  await caller.hangUp();
  // What the killed one had not exported yet is declared lost, never complete.
  const cut = await timeline(keyOf(caller), (it) => it.turnsWithEvidence > 1, acknowledged);
  expect(cut).toMatchObject({ chainIntact: true, complete: false });
}, 120_000);

test("F-150 the adapter: its calls end for their callers at once and for the runtime in time, new ones are taken", async () => {
  const caller = await callInStory();
  await kill("transport-websocket");
  const other = await newCall();
  await until(() => caller.client.state === "closed", "the end of the call", 60_000, told(caller));
  expect(caller.states.map(({ state }) => state)).toEqual(["reconnecting", "closed"]);
  // There is no other runtime that could have gone on with it.
  const { reason } = caller.states.at(-1) ?? {};
  expect(["session_not_found", "the session could not be taken up again in time"]).toContain(reason);
  await other.hangUp();
  expect(await timeline(keyOf(caller), complete)).toMatchObject({ chainIntact: true, complete: true });
}, 120_000);
