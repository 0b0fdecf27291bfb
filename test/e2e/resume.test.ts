/** Callers whose network breaks, on a platform of a process each: the call goes on, or is over and everyone knows. */
import { join } from "node:path";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import { expect, onTestFinished, test } from "vitest";
import { type CutProxy, startCutProxy } from "./cut-proxy.ts";
import { pocketsphinx, tempDir } from "./rspp.ts";
import { type Caller, call, question, type Up, until, upWith } from "./up-rig.ts";

interface Audit {
  readonly kind: string;
  readonly session: string;
  readonly reason: string;
}

/** What the adapter's log says of a session, in order. */
function audits({ running }: Up, session: string): string[] {
  return [...running.text().matchAll(/^\{.*"audit":\{.*\}$/gm)]
    .map(([line]) => (JSON.parse(line) as { audit: Audit }).audit)
    .filter((audit) => audit.session === session)
    .map(({ kind }) => kind);
}

async function dial(platform: Up): Promise<{ caller: Caller; network: CutProxy; told: () => string }> {
  const network = await startCutProxy();
  onTestFinished(() => network.close());
  const cuttable = class extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(network.through(url), protocols);
    }
  };
  const caller = await call(platform.registry, { WebSocket: cuttable });
  const { session } = caller.client;
  const told = (): string =>
    JSON.stringify({
      turns: caller.turns,
      said: caller.said(),
      states: caller.states,
      audits: audits(platform, session),
    });
  await until(() => caller.heard.some(({ turn, end }) => turn === 1 && end), "the greeting", 30_000, told);
  return { caller, network, told };
}

async function pass(ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  await until(() => performance.now() >= endMs, "time", ms + 5_000);
}

/** The turn's voice: every frame heard once, in order, to its end. */
function whole({ heard }: Caller, turn: number): void {
  const frames = heard.filter((frame) => frame.turn === turn);
  expect(frames.map(({ sequence }) => sequence)).toEqual(frames.map((_, i) => i + 1));
  expect(frames.map(({ end }) => end)).toEqual(frames.map((_, i) => i === frames.length - 1));
}

function finalsOnce({ texts }: Caller): void {
  const ids = texts.filter(({ final }) => final).map(({ eventId }) => eventId);
  expect(new Set(ids).size).toBe(ids.length);
}

test("F-091 a caller cut for five seconds in mid-sentence and in mid-answer goes on in the same session", async () => {
  const platform = await upWith({ env: { RSPP_LOG_LEVEL: "info" } }, join(tempDir(), "data"), "--processes");
  const { caller, network, told } = await dial(platform);
  const { session } = caller.client;
  const heardOut = (turn: number): boolean => caller.heard.some((frame) => frame.turn === turn && frame.end);

  caller.say(await question("question-2"));
  await pass(700);
  network.cut();
  await pass(5_000);
  expect(caller.client.state).toBe("reconnecting");
  network.heal();
  await until(() => heardOut(2), "the answer to what was said over the cut", 60_000, told);
  whole(caller, 2);

  caller.say(await question("question-1"));
  await until(() => caller.heardMs(3) >= 1_000, "a second of the story", 30_000, told);
  network.cut();
  await pass(5_000);
  network.heal();
  await until(() => heardOut(3), "the rest of the story", 90_000, told);
  whole(caller, 3);

  expect(caller.client.session).toBe(session);
  expect(caller.client.resumes).toBe(2);
  expect(caller.states.map(({ state }) => state)).toEqual(["reconnecting", "open", "reconnecting", "open"]);
  expect(caller.flushes).toEqual([]);
  expect(caller.turns.filter(({ phase }) => phase === "commit").map(({ turn }) => turn)).toEqual([1, 2, 3]);
  finalsOnce(caller);
  if (pocketsphinx !== undefined) expect(caller.said()).toEqual(["how many days are in february", "tell me a story"]);
  await caller.hangUp();
  await until(() => audits(platform, session).includes("closed"), "the end in the log", 10_000, told);
  expect(audits(platform, session)).toEqual(["opened", "waiting", "resumed", "waiting", "resumed", "closed"]);

  // Past the limit.
  const late = await dial(platform);
  const { session: lost } = late.caller.client;
  const tenantId = "local";
  const state = async (): Promise<SessionState | undefined> => {
    const ask = { session: { tenantId, sessionId: lost } };
    return (await platform.registry.client(RegistryService).getSessionStatus(ask)).status?.info?.state;
  };
  late.network.cut();
  expect(await late.caller.client.ended).toBe("the session could not be taken up again in time");
  expect(late.caller.states.map((s) => s.state)).toEqual(["reconnecting", "closed"]);
  await until(() => audits(platform, lost).includes("given_up"), "the adapter's giving up", 10_000, late.told);
  expect(audits(platform, lost)).toEqual(["opened", "waiting", "given_up"]);
  let now: SessionState | undefined;
  const endMs = performance.now() + 15_000;
  while (now !== SessionState.ENDED && performance.now() < endMs) {
    now = await state();
    await pass(100);
  }
  expect(now).toBe(SessionState.ENDED);
}, 240_000);
