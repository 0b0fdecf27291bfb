/** The export of a call against what the simulated devices played and recorded themselves, sample by sample. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseWav } from "@rspp/audio/wav";
import { type HeardCall, heardCall, track } from "@rspp/replay/heard-call";
import { configOf } from "@rspp/replay/re-execute";
import { listSessions, readSession } from "@rspp/runtime/spool/reader";
import { afterAll, expect, test, vi } from "vitest";
import { exportCall } from "../actions/export.ts";
import { run } from "../run.ts";
import { openSpool } from "../timeline/source.ts";
import { readScript, runScript } from "./run-script.ts";

const folder = fileURLToPath(new URL("../../../pipelines/tests/", import.meta.url));

async function exported(steps: string) {
  const text = `schema: rspp/test/v1\npipeline: ../specs/voice-assistant.yaml\nsteps:\n${steps}`;
  let found: { call: HeardCall; agent: Int16Array; caller: Int16Array } | undefined;
  const report = await runScript(await readScript(`${folder}inline.yaml`, text, { data: ".data" }), {
    onEnd: (stage, line) => {
      const { agent, caller } = line.adapter.recording();
      const run = readSession(stage.store, line.session.id).runs.at(-1);
      const config = run === undefined ? null : configOf(run);
      if (run === undefined || config === null) throw new Error("nothing was recorded");
      found = { call: heardCall(line.session.id, config, run, []), agent, caller };
    },
  });
  expect(report.checks.filter(({ ok }) => !ok)).toEqual([]);
  if (found === undefined) throw new Error("the call did not end");
  return found;
}

/** Where two tracks differ first; -1 where they are the same. */
function firstDifference(a: Int16Array, b: Int16Array): number {
  return a.findIndex((value, i) => value !== b[i]);
}

test.each([
  [
    "a barge-in",
    "  - say: tell me a story\n  - barge_in: {say: stop, at_text: small robot}\n  - say: when do you open\n",
  ],
  [
    "a connection that was away",
    "  - say: when do you open\n  - network: {cut_ms: 730, after_ms: 250}\n  - say: help me\n",
  ],
] as const)("X-07 %s: both sides are where they were heard, to the sample", async (_, steps) => {
  const { call, agent, caller } = await exported(steps);
  expect(call.framesMissing).toBe(0);
  expect(agent.some((value) => value !== 0)).toBe(true);
  expect(firstDifference(track(call.agent.pieces, agent.length), agent)).toBe(-1);
  expect(firstDifference(track(call.caller.pieces, caller.length), caller)).toBe(-1);
  // The same again a sample later would be seen.
  const late = call.agent.pieces.map(({ start, samples }) => ({ start: start + 1, samples }));
  expect(firstDifference(track(late, agent.length), agent)).not.toBe(-1);
});

const made = mkdtempSync(join(tmpdir(), "rspp-export-"));
afterAll(() => rmSync(made, { recursive: true }));

async function recorded(record: "L1" | "L2") {
  const data = join(made, record);
  const out = join(made, `${record}.wav`);
  const wav = [fileURLToPath(new URL("../../assets/question-2.wav", import.meta.url))];
  const spec = `${folder}../specs/voice-assistant.yaml`;
  const quiet = [vi.spyOn(console, "log"), vi.spyOn(process.stdout, "write")];
  for (const spy of quiet) spy.mockReturnValue(true as never);
  try {
    const options = { wav, out, data, record, json: false, fast: true, silero: "off", stt: "sim/stt" } as const;
    expect(await run(spec, { ...options, wav })).toBe(0);
    const [session] = listSessions(openSpool(data));
    const asked = { data, out: join(made, "export"), replay: "", tenant: "local" };
    const told = () => exportCall(session?.sessionId ?? "", asked, { addressGiven: false, tenantGiven: false });
    return { status: await told(), reply: parseWav(readFileSync(out)) };
  } finally {
    for (const spy of quiet) spy.mockRestore();
  }
}

test("X-07 rspp export: a stereo WAV of what was heard, a transcript and the timeline, for the owner alone", async () => {
  const { status, reply } = await recorded("L2");
  expect(status).toBe(0);
  const file = (name: string) => join(made, "export", name);
  const { samples, channels, rateHz } = parseWav(readFileSync(file("call.wav")));
  expect([channels, rateHz]).toEqual([2, 16_000]);
  const agent = samples.filter((_, i) => i % 2 === 1);
  const length = Math.min(agent.length, reply.samples.length);
  expect(length).toBeGreaterThan(3 * 16_000);
  expect(firstDifference(agent.subarray(0, length), reply.samples.subarray(0, length))).toBe(-1);
  const asked = readFileSync(fileURLToPath(new URL("../../assets/question-2.txt", import.meta.url)), "utf8").trim();
  const { turns, replay_identical } = JSON.parse(readFileSync(file("transcript.json"), "utf8"));
  expect(replay_identical).toBe(true);
  expect(turns).toMatchObject([{ agent_heard: "Welcome. How can I help you?" }, { caller: asked, cut: false }]);
  expect(readFileSync(file("transcript.txt"), "utf8")).toMatch(/^00:00\.\d{3} {2}agent: {2}Welcome[^\n]*\n +caller: /);
  expect(readFileSync(file("timeline.jsonl"), "utf8").split("\n").length).toBeGreaterThan(100);
  expect(statSync(file("call.wav")).mode & 0o077).toBe(0);
});

test("X-07 a recording without payloads is refused, with what to do", async () => {
  await expect(recorded("L1")).rejects.toThrow(/recorded without payloads[\s\S]*help: record at L2/);
});
