/** A session that goes on on another runtime, kernel and shell in virtual time (kernel.md §7, §8). */
import { create } from "@bufbuild/protobuf";
import { TakeoverSessionSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { replayJournal } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { TransportEgress } from "@rspp/ports/transport";
import { readTakeover } from "@rspp/runtime/durable/takeover";
import { createLoopbackAdapter } from "@rspp/transport-loopback/adapter";
import { expect, test } from "vitest";
import { createRig, openCall, type Rig, type SimCall, simConfig, speech } from "../integration/rig.ts";
import { type MemoryState, memoryState } from "./memory-state.ts";

const transcripts = ["first words", "second words", "third words"];
const reply = "One two three four five six seven eight. Nine ten eleven twelve thirteen fourteen fifteen.";

function settings(name: string, firstMs = 0): SessionConfig {
  const llm = { text: reply, first_chunk_ms: firstMs };
  return simConfig(name, { stt: { transcripts }, llm, tts: { ms_per_char: 40 } });
}

async function turnHeard(rig: Rig, call: SimCall, turn: number): Promise<void> {
  call.line.speak(speech(400));
  await rig.until(() => call.line.deliveries().some((d) => d.turn === turn && d.phase === "completed"));
  await rig.pass(500);
}

/** The successor, on a runtime of its own. */
async function successor(config: SessionConfig, state: MemoryState, said: Record<string, unknown>) {
  const rig = createRig({ state });
  state.floor = 2;
  const about = { predecessorInstance: "runtime-1", predecessorEpoch: 1n, ...said };
  const taken = await readTakeover(create(TakeoverSessionSchema, about as never), config, state, rig.clock, 1_000);
  const { takeover, turnsBefore, texts } = taken;
  const authority = { ...config.authority, epoch: 2 };
  const sent: TransportEgress[] = [];
  const line = createLoopbackAdapter({ clock: rig.clock, epoch: 2 });
  const opened = rig.runtime.openSession({
    config: { ...config, seed: "another", authority, takeover, turnsBefore },
    texts,
    keepJournal: true,
    transport: {
      send(message) {
        sent.push(message);
        line.send(message);
      },
    },
  });
  if (!opened.ok) throw new Error(opened.error.detail);
  line.connect(opened.value);
  const signals = () => sent.flatMap((m) => (m.kind === "control" ? [`${m.signal}/${m.turn}`] : []));
  return { rig, line, sent, session: opened.value, signals, taken };
}

test("F-155 F-096 a runtime is lost in the middle of an answer: its successor closes the turn, knows what was heard before, and answers", async () => {
  const state = memoryState();
  const rig = createRig({ state });
  const config = settings("lost", 500);
  const call = openCall(rig, config);
  await turnHeard(rig, call, 1);
  call.line.speak(speech(400));
  await rig.until(() => call.signals.includes("turn_open/2"));
  await rig.pass(300);
  expect(state.document(config)).toMatchObject({ lastTurn: 2, controlThrough: 0 });
  // It is killed: nothing of it is run any more.
  const open = { openTurnNumber: 2, openTurnGeneration: 1, openTurnPlayedUs: 0n };
  const next = await successor(config, state, { lastTurnNumber: 2, ...open });
  expect(next.taken.takeover).toMatchObject({ state: "found", planned: false, openTurn: { number: 2 } });
  await next.rig.until(() => next.line.deliveries().some((d) => d.turn === 3 && d.phase === "completed"));
  const signals = next.signals();
  expect(signals.filter((one) => one.endsWith("/2"))).toEqual(["abort/2", "close/2"]);
  expect(signals.filter((one) => one.startsWith("turn_open/"))).toEqual(["turn_open/3"]);
  expect(signals.indexOf("close/2")).toBeLessThan(signals.indexOf("turn_open/3"));
  const aborted = next.sent.find((m) => m.kind === "control" && m.signal === "abort");
  expect(aborted).toMatchObject({ turn: 2, reason: "authority_loss", epoch: 2 });
  expect(next.rig.told.get("lost/3")?.filter(({ role }) => role !== "system")).toEqual([
    { role: "user", text: "first words" },
    { role: "assistant", text: reply },
    { role: "user", text: "second words" },
  ]);
  next.line.end();
  await next.rig.until(() => next.rig.runtime.sessions().length === 0);
  expect(replayJournal(next.session.config, next.session.journal())).toMatchObject({ identical: true });
  const records = next.rig.spool.readSession("lost").runs.flatMap((run) => run.records);
  expect(records.find(({ kind }) => kind === "predecessor_lost")?.content).toMatchObject({
    predecessorEpoch: 1,
    openTurn: 2,
  });
  // What ended for good is kept nowhere.
  await next.rig.pass(100);
  expect(state.has(config)).toBe(false);
});

test("F-096 a reply that was committed and cut off is said on from the first word that was not heard; no model is asked again", async () => {
  const state = memoryState();
  const rig = createRig({ state });
  const config = settings("cut");
  const call = openCall(rig, config);
  call.line.speak(speech(400));
  await rig.until(() => call.signals.includes("commit/1"));
  await rig.pass(600);
  expect(state.document(config)).toMatchObject({ replies: [{ turn: 1 }] });
  const playedUs = 1_000_000;
  const open = {
    openTurnNumber: 1,
    openTurnGeneration: 1,
    openTurnPlayedUs: BigInt(playedUs),
    openTurnCommitted: true,
  };
  const next = await successor(config, state, { lastTurnNumber: 1, ...open });
  await next.rig.until(() => next.line.deliveries().some((d) => d.turn === 2 && d.phase === "completed"));
  expect(next.signals().filter((one) => one.endsWith("/1"))).toEqual([]);
  expect(next.rig.told.size).toBe(0);
  const said = next.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" ? [m.text] : [])).join("");
  expect(reply.endsWith(said.trim())).toBe(true);
  expect(said.trim().length).toBeGreaterThan(20);
  expect(said.trim().length).toBeLessThan(reply.length - 10);
});

test("F-158 a caller who was answered is not answered again; a state that is missing starts the session anew and says so", async () => {
  const state = memoryState();
  const rig = createRig({ state });
  const config = settings("quiet");
  const call = openCall(rig, config);
  await turnHeard(rig, call, 1);
  const next = await successor(config, state, { lastTurnNumber: 1, planned: true });
  // The line counts its frames from one again: those the predecessor had heard are not heard twice.
  await next.rig.pass(20_000);
  expect(next.signals()).toEqual(["migration_finish/0"]);
  next.line.speak(speech(400));
  await next.rig.until(() => next.signals().includes("commit/2"));
  expect(next.rig.told.get("quiet/2")?.filter(({ role }) => role === "assistant")).toEqual([
    { role: "assistant", text: reply },
  ]);
  const none = await successor(settings("none"), memoryState(), { lastTurnNumber: 4 });
  expect(none.taken.takeover).toMatchObject({ state: "missing", durable: null });
  none.line.speak(speech(400));
  await none.rig.until(() => none.signals().includes("turn_open/5"));
  const handoff = none.sent.find((m) => m.kind === "control" && m.signal === "session_handoff");
  expect(handoff).toMatchObject({ fields: { state: "missing", epochOld: 1, epochNew: 2 } });
});

test("F-155 while the state service is away the call goes on, the timeline says what is not written, and it is written later; who was fenced writes nothing", async () => {
  const state = memoryState();
  const rig = createRig({ state });
  const config = settings("away");
  const call = openCall(rig, config);
  state.there = false;
  await turnHeard(rig, call, 1);
  await rig.pass(3_000);
  expect(state.document(config)).toBeNull();
  state.there = true;
  await rig.until(() => state.document(config) !== null);
  await rig.pass(500);
  const names = () =>
    rig.spool
      .readSession("away")
      .runs.flatMap((run) =>
        run.records.flatMap(({ kind, content }) => (kind === "marker" ? [(content as { name: string }).name] : [])),
      );
  expect(names().filter((name) => name.startsWith("state_"))).toEqual(["state_pending", "state_written"]);
  state.floor = 2;
  const before = state.writes;
  await turnHeard(rig, call, 2);
  expect([state.writes, state.document(config)?.lastTurn]).toEqual([before, 1]);
});
