/** A real LiveKit server, the adapter in a process of its own, the platform of `rspp up`, and participants who speak (F-083). */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { LiveKitService } from "@rspp/gen/rspp/transport/v1/livekit_service_pb";
import type { RpcConnection } from "@rspp/rpc/clients";
import { RoomServiceClient } from "livekit-server-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pocketsphinx, recognise } from "../e2e/rspp.ts";
import { question, type Up, upWith } from "../e2e/up-rig.ts";
import { type RunningService, refusal, startService, stopService } from "../integration/services-rig.ts";
import { has } from "../polyglot/tools.ts";
import { LIVEKIT_KEY, LIVEKIT_SECRET, type LiveKitServer, startLiveKit } from "./livekit-server.ts";
import { join, type Participant } from "./participant.ts";

const withGo = (await has("go", "version")) && pocketsphinx !== undefined;
const patienceMs = 30_000;
const LOUD = 1_000;

let livekit: LiveKitServer;
let platform: Up;
let adapter: RunningService;
const data = mkdtempSync(joinPath(tmpdir(), "rspp-livekit-"));

beforeAll(async () => {
  if (!withGo) return;
  [livekit, platform] = await Promise.all([startLiveKit(), upWith({ kept: true, cwd: data }, data)]);
  adapter = await startService("transport-livekit", {
    args: ["--registry", platform.platform.registry, "--lease", platform.line("lease").url],
    env: {
      RSPP_LIVEKIT_URL: livekit.url,
      RSPP_LIVEKIT_API_KEY: LIVEKIT_KEY,
      RSPP_LIVEKIT_API_SECRET: "env:LIVEKIT_TEST_SECRET",
      LIVEKIT_TEST_SECRET: LIVEKIT_SECRET,
      RSPP_RESUME_WITHIN_MS: "20000",
    },
  });
}, 240_000);

afterAll(async () => {
  if (adapter !== undefined) await stopService(adapter);
  if (platform !== undefined) {
    platform.running.child.kill("SIGTERM");
    await platform.running.finished;
  }
  await livekit?.stop();
  rmSync(data, { recursive: true, force: true, maxRetries: 5 });
}, 60_000);

async function until(holds: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`not within ${patienceMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function untilMetric(name: string, value: number): Promise<void> {
  const endMs = performance.now() + patienceMs;
  for (let found = await metric(name); found !== value; found = await metric(name)) {
    if (performance.now() > endMs) throw new Error(`${name} is ${found}, not ${value}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function livekitRoute(registry: RpcConnection): Promise<{ token: string; session: string; url: string }> {
  const ask = {
    tenantId: "local",
    pipelineName: "voice-assistant",
    transport: "livekit",
    idempotencyKey: randomUUID(),
  };
  const { route } = await registry.client(RegistryService).createRoute(ask);
  return { token: route?.token ?? "", session: route?.session?.sessionId ?? "", url: route?.endpoint?.url ?? "" };
}

/** A participant in the room of a session, as an application lets one in: a route, the agent, the caller's own token. */
async function callIn(): Promise<{ caller: Participant; session: string; room: string }> {
  const { token, session, url } = await livekitRoute(platform.registry);
  expect(url).toBe(adapter.url);
  const joined = await adapter.rpc.client(LiveKitService).joinRoom({ token });
  expect([joined.session?.sessionId, joined.url, joined.room]).toEqual([session, livekit.url, session]);
  return { caller: await join(joined.url, joined.callerToken), session, room: joined.room };
}

const peak = (samples: Int16Array): number => samples.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
const loudAt = ({ heard }: Participant, from: number): number =>
  heard.slice(from).findIndex((h) => peak(h.samples) > LOUD);

/** The agent has spoken since, and been silent for 700 ms. */
function answered({ heard }: Participant, from: number): boolean {
  const tail = heard.slice(-70);
  return heard.slice(from, -70).some((h) => peak(h.samples) > LOUD) && tail.every((h) => peak(h.samples) <= LOUD);
}

/** 300 ms without a sound since. */
function quietAfter({ heard }: Participant, from: number): boolean {
  const tail = heard.slice(Math.max(from, heard.length - 30));
  return tail.length === 30 && tail.every((h) => peak(h.samples) <= LOUD);
}

function lastLoudMs({ heard }: Participant, from: number): number {
  return heard.slice(from).findLast((h) => peak(h.samples) > LOUD)?.atMs ?? 0;
}

const joined = (frames: readonly { samples: Int16Array }[]): Int16Array => {
  const all = new Int16Array(frames.reduce((n, f) => n + f.samples.length, 0));
  let at = 0;
  for (const { samples } of frames) {
    all.set(samples, at);
    at += samples.length;
  }
  return all;
};

/** Asks, and gives what was answered, recognised. */
async function ask(caller: Participant, samples: Int16Array): Promise<string> {
  await caller.say(samples);
  const from = caller.heard.length;
  await until(() => answered(caller, from), "an answer and silence after it");
  return recognise(joined(caller.heard.slice(from)));
}

describe.skipIf(!withGo)("LiveKit", () => {
  test("F-083 F-086 a participant is greeted, asks by voice, hears the answer, is cut off by nobody, and leaves", async () => {
    const { caller } = await callIn();
    await until(() => answered(caller, 0), "the greeting");
    expect(await ask(caller, await question("question-2"))).toContain("february has twenty eight days");
    const words = caller.transcriptions.filter(({ final }) => final);
    expect(words.map(({ text }) => text).join(" ")).toContain("how many days are in february");
    expect(words.some(({ identity, text }) => identity.startsWith("agent-") && /twenty.?eight/i.test(text))).toBe(true);
    await caller.leave();
    await untilMetric("rspp_livekit_rooms", 0);
  }, 120_000);

  test("F-033 F-083 a barge-in empties the agent's track: silence at the participant, and the question is answered", async () => {
    const { caller } = await callIn();
    await until(() => answered(caller, 0), "the greeting");
    await caller.say(await question("question-1"));
    const from = caller.heard.length;
    await until(() => loudAt(caller, from) >= 0, "the story");
    await untilMetric("rspp_livekit_rooms", 1);
    const cutFrom = caller.heard.length;
    const saidMs = caller.say(await question("question-2")).then(() => performance.now());
    await until(() => quietAfter(caller, cutFrom), "silence while the caller speaks");
    const lastWordMs = lastLoudMs(caller, cutFrom);
    // The story would go on for many seconds: it was cut while the question was being asked.
    expect(lastWordMs).toBeLessThan(await saidMs);
    const answerFrom = caller.heard.length;
    await until(() => answered(caller, answerFrom), "the answer");
    expect(await recognise(joined(caller.heard.slice(answerFrom)))).toContain("february has twenty eight days");
    await caller.leave();
    await untilMetric("rspp_livekit_rooms", 0);
  }, 120_000);

  test("F-088 F-083 altered, foreign and used tokens bring no agent; the refusal says what to do", async () => {
    const api = adapter.rpc.client(LiveKitService);
    const { token } = await livekitRoute(platform.registry);
    expect(await refusal(api.joinRoom({ token: `${token.slice(0, -4)}AAAA` }))).toMatchObject({
      name: "TOKEN_INVALID",
    });
    const first = await api.joinRoom({ token, room: "lobby" });
    expect(await refusal(api.joinRoom({ token, room: "another" }))).toMatchObject({
      violations: [{ field: "room" }],
    });
    // Asked again, it is one agent.
    expect((await api.joinRoom({ token })).room).toBe(first.room);
    expect(await metric("rspp_livekit_rooms")).toBe(1);
    const rooms = new RoomServiceClient(livekit.apiUrl, LIVEKIT_KEY, LIVEKIT_SECRET);
    await rooms.deleteRoom("lobby");
    await untilMetric("rspp_livekit_rooms", 0);
  }, 60_000);

  test("F-091 F-083 the LiveKit server starts again in mid-call: agent and caller come back to the same session", async () => {
    const { caller, room } = await callIn();
    await until(() => answered(caller, 0), "the greeting");
    await livekit.kill();
    await livekit.start();
    await untilMetric("rspp_livekit_resumed_total", 1);
    await until(
      () => caller.room.isConnected && caller.room.remoteParticipants.size > 0,
      "the agent, seen by the caller",
    );
    await untilMetric("rspp_livekit_sessions_waiting", 0);
    expect(await ask(caller, await question("question-2"))).toContain("february has twenty eight days");
    expect(caller.room.name).toBe(room);
    await caller.leave();
    await untilMetric("rspp_livekit_rooms", 0);
  }, 120_000);
});

/** A number of the adapter's own. */
async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${adapter.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)`, "m").exec(text)?.[1] ?? Number.NaN);
}
