/**
 * Barge-ins at random points, through the shipped shell and the loopback adapter (F-033, F-038, F-039, F-040, F-175):
 * 200 while the reply is still being generated, 200 while a committed reply plays. What was heard is computed here anew
 * from the word timings of `sim/tts` and the samples that reached the loudspeaker.
 */
import { createStream, nextInt, type RandomStream } from "@rspp/base/random";
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import { replayJournal } from "@rspp/kernel/replay";
import { simWordTimings } from "@rspp/provider-gateway/sim/tts";
import { describe, expect, test } from "vitest";
import { createRig, openCall, type Rig, recordsOf, type SimCall, simConfig, speech } from "./rig.ts";

const CALLS = 10;
const CUTS_PER_CALL = 20;
const MS_PER_CHAR = 40;
const FRAME_US = 20_000;
const SAMPLE_NS = 62_500;

type Mode = "active" | "closed";

interface Tally {
  cuts: number;
  fences: number;
  samplesAfterFence: number;
  framesAfterFence: number;
  stretchesAfterFence: number;
  heardNothing: number;
  heardWords: number;
  insideWord: number;
  replaySteps: number;
}

/** Sentences of words of all lengths, with commas, so that clauses are of all lengths. */
function story(random: RandomStream): string {
  const words = Array.from({ length: nextInt(random, 55, 75) }, (_, i) => {
    const letters = Array.from({ length: nextInt(random, 1, 11) }, () =>
      String.fromCharCode(97 + nextInt(random, 0, 25)),
    );
    const stop = i % 9 === 8 ? "." : nextInt(random, 0, 6) === 0 ? "," : "";
    return `${letters.join("")}${stop}`;
  });
  return `${words.join(" ")}.`;
}

function clausesOf(call: SimCall, turn: number): string[] {
  return call.sent.flatMap((m) => (m.kind === "text" && m.role === "assistant" && m.turn === turn ? [m.text] : []));
}

/** The words whose last sample was played, from the clauses alone. */
function heardOf(clauses: readonly string[], playedUs: number): { text: string; insideWord: boolean } {
  let startUs = 0;
  let before = "";
  let text = "";
  let insideWord = false;
  for (const clause of clauses) {
    for (const word of simWordTimings(clause, MS_PER_CHAR)) {
      if (startUs + word.endUs <= playedUs) text = before + clause.slice(0, word.to);
      else if (startUs + word.startUs < playedUs) insideWord = true;
    }
    before += clause;
    startUs += Math.max(1, Math.ceil((clause.length * MS_PER_CHAR * 1_000) / FRAME_US)) * FRAME_US;
  }
  return { text: text.trim(), insideWord };
}

async function cutOne(rig: Rig, call: SimCall, mode: Mode, turn: number, random: RandomStream): Promise<void> {
  const seen = (signal: string) => (): boolean => call.signals.includes(`${signal}/${turn}`);
  await rig.until(seen("turn_open"));
  if (mode === "active") {
    // From before the first sound to shortly before generation would be complete.
    await rig.pass(nextInt(random, 0, 5_500));
    expect(seen("commit")()).toBe(false);
  } else {
    await rig.until(seen("commit"));
    await rig.pass(nextInt(random, 0, 8_000));
  }
  call.line.speak(speech(nextInt(random, 160, 400)));
  await rig.until(() => call.line.fences().at(-1)?.turn === turn);
}

interface Case {
  rig: Rig;
  call: SimCall;
  turn: number;
  mode: Mode;
  tally: Tally;
}

function checkCut({ rig, call, turn, mode, tally }: Case, sealed: SealedEvidence, addendum: DeliveryAddendum): void {
  const fence = call.line.fences().find((f) => f.turn === turn);
  expect(fence, `turn ${turn} has its fence`).toBeDefined();
  if (fence === undefined) return;
  tally.cuts += 1;
  tally.fences += Number(addendum.cancelFenceAppliedNs === fence.atNs);
  // Generation not complete: aborted. Complete: it stays committed, and there is no second terminal (T7, T13).
  const wanted = mode === "active" ? ["abort", "cancelled"] : ["commit", null];
  expect([sealed.manifest.terminal?.kind, sealed.manifest.terminal?.reason]).toEqual(wanted);
  expect(sealed.missing).toEqual([]);
  const ofTurn = call.signals.filter((s) => s.endsWith(`/${turn}`));
  expect(ofTurn.filter((s) => /^(commit|abort)\//.test(s)).length).toBe(1);
  expect(ofTurn.filter((s) => s.startsWith("close/")).length).toBe(1);
  expect(addendum.outcome).toBe("cancelled");
  // The loudspeaker knows best what was played.
  const ranges = call.line.recording().ranges.filter((range) => range.turn === turn);
  const playedUs = ranges.reduce((most, range) => Math.max(most, range.toUs), 0);
  expect(Math.abs(addendum.playedUs - playedUs)).toBeLessThanOrEqual(1);
  for (const range of ranges) if (range.endNs > fence.atNs + SAMPLE_NS) tally.stretchesAfterFence += 1;
  // Nor has the runtime sent anything of that turn behind its fence.
  const fenced = call.sent.findIndex((m) => m.kind === "fence" && m.turn === turn);
  const late = call.sent.slice(fenced).filter((m) => m.kind === "media" && m.turn === turn);
  tally.framesAfterFence += late.length;
  const { text, insideWord } = heardOf(clausesOf(call, turn), playedUs);
  // What the language model was told, at the next turn, of what the caller had heard.
  const next = rig.told.get(`${call.session.id}/${turn + 1}`) ?? [];
  const said = next.at(-2);
  expect(next.at(-1)).toEqual({ role: "user", text: `question ${turn + 1}` });
  expect(said?.role === "assistant" ? said.text.trim() : "", `turn ${turn} played ${playedUs}`).toBe(text);
  tally.heardNothing += Number(text === "");
  tally.heardWords += text === "" ? 0 : text.split(" ").length;
  tally.insideWord += Number(insideWord);
}

async function oneCall(rig: Rig, mode: Mode, n: number, tally: Tally): Promise<void> {
  const random = createStream(`barge-in/${mode}`, 0, String(n));
  const cuts = CUTS_PER_CALL;
  const config = simConfig(`${mode}-${n}`, {
    stt: { transcripts: Array.from({ length: cuts + 1 }, (_, i) => `question ${i + 1}`) },
    // 55 words and more at 150 ms: generation takes over eight seconds.
    llm: { text: story(random), seed: `${n}`, ...(mode === "active" ? { chunk_ms: 150, jitter_ms: 40 } : {}) },
    tts: { ms_per_char: MS_PER_CHAR, first_chunk_ms: nextInt(random, 0, 120), chunk_ms: mode === "active" ? 5 : 0 },
  });
  const call = openCall(rig, config);
  call.line.speak(speech(300));
  for (let turn = 1; turn <= cuts; turn++) await cutOne(rig, call, mode, turn, random);
  await rig.until(() => call.signals.includes(`turn_open/${cuts + 1}`));
  call.line.end();
  await rig.until(() => rig.runtime.session(call.session.config) === null);
  const sealed = recordsOf<SealedEvidence>(rig, call.session.id, "evidence", "manifest");
  const addenda = recordsOf<DeliveryAddendum>(rig, call.session.id, "delivery_addendum", "addendum");
  for (let turn = 1; turn <= cuts; turn++) {
    const [manifest, addendum] = [sealed.get(turn), addenda.get(turn)];
    if (manifest === undefined || addendum === undefined) throw new Error(`turn ${turn} has no evidence`);
    checkCut({ rig, call, turn, mode, tally }, manifest, addendum);
  }
  tally.samplesAfterFence += call.line.stats().samplesAfterFence;
  const replay = replayJournal(config, call.session.journal());
  expect(replay.divergences).toEqual([]);
  expect(replay.identical).toBe(true);
  tally.replaySteps += replay.steps;
}

async function run(mode: Mode): Promise<Tally> {
  const tally: Tally = {
    cuts: 0,
    fences: 0,
    samplesAfterFence: 0,
    framesAfterFence: 0,
    stretchesAfterFence: 0,
    heardNothing: 0,
    heardWords: 0,
    insideWord: 0,
    replaySteps: 0,
  };
  const rig = createRig();
  for (let n = 0; n < CALLS; n++) await oneCall(rig, mode, n, tally);
  expect(rig.spool.verify().ok).toBe(true);
  // F-040: latencies from cancel to fence are there to be read.
  expect(rig.runtime.metrics.read("cancel_fence_ms")).toMatchObject({
    // Each call's last turn is cut by its end, which is no cancel.
    count: CALLS * CUTS_PER_CALL,
    p95Ms: expect.any(Number),
    p99Ms: expect.any(Number),
  });
  if (mode === "active") expect(rig.runtime.metrics.read("node_cancel_ms")?.count).toBeGreaterThan(CUTS_PER_CALL);
  console.log(`${mode}: ${JSON.stringify(tally)}`);
  return tally;
}

const whole = { cuts: 200, fences: 200, samplesAfterFence: 0, framesAfterFence: 0, stretchesAfterFence: 0 };

describe("barge-in", () => {
  test("F-033 F-038 F-039 F-040 200 into Active turns: aborted, fence acknowledged, nothing after it, heard to the word", async () => {
    const tally = await run("active");
    expect(tally).toMatchObject(whole);
    expect(tally.heardNothing).toBeGreaterThan(0);
    expect(tally.insideWord).toBeGreaterThan(50);
  });

  test("F-033 F-039 F-040 F-175 200 into Closed turns that still play: committed, fence acknowledged, nothing after it, heard to the word", async () => {
    const tally = await run("closed");
    expect(tally).toMatchObject(whole);
    expect(tally.heardWords).toBeGreaterThan(1_500);
    expect(tally.insideWord).toBeGreaterThan(50);
  });
});
