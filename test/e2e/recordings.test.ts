/**
 * Human voices through the whole platform: loopback line, voice detection, endpointing, pocketsphinx with the pipeline's
 * grammar, answer, speech. And what each recording level keeps (F-153), and a pipeline from provider names alone (F-079).
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import type { DeliveryAddendum, SealedEvidence } from "@rspp/kernel/evidence";
import { verifyAddendum, verifyEvidence } from "@rspp/kernel/evidence";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { readSession, type SessionRun } from "@rspp/runtime/spool/reader";
import { describe, expect, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import {
  type Finished,
  jsonOf,
  lastSpeech,
  pocketsphinx,
  recognise,
  rspp,
  tempDir,
  template,
  testData,
} from "./rspp.ts";

const inCi = process.env.CI === "true";
const recordingsThere = existsSync(testData);

interface RunTurn {
  origin: string;
  user: string;
  said: string;
  terminal: string;
  delivery: string;
  latencies: Record<string, number>;
}
interface Ran {
  ok: boolean;
  session: string;
  recogniser: string;
  recording: { level: string; by: string };
  turns: RunTurn[];
  reply: string;
}

function ran(end: Finished): Ran {
  expect(end.status, end.all).toBe(0);
  const result = jsonOf<Ran>(end);
  expect(result.ok).toBe(true);
  return result;
}

/** The template with another grammar, and patient enough for people who pause between words. */
function specWith(dir: string, grammar: string): string {
  const lines = readFileSync(template, "utf8").split("\n");
  const from = lines.findIndex((line) => line.trim() === "grammar: |") + 1;
  const to = lines.findIndex((line, i) => i > from && line.trim() === "");
  const own = grammar.trim().split("\n");
  const text = [...lines.slice(0, from), ...own.map((line) => `          ${line}`), ...lines.slice(to)].join("\n");
  const path = join(dir, "spec.yaml");
  writeFileSync(
    path,
    text.replace("endpoint_silence_ms: 500", "endpoint_silence_ms: 1500").replace("preroll_ms: 300", "preroll_ms: 600"),
  );
  return path;
}

const numbersGrammar = `#JSGF V1.0;
grammar numbers;
public <numbers> = <number>+;
<number> = <teen> | <tens> [<unit>] | <unit> | or;
<unit> = one | two | three | four | five | six | seven | eight | nine;
<teen> = ten | eleven | twelve | thirteen | fourteen | fifteen | sixteen | seventeen | eighteen | nineteen;
<tens> = twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety;`;

async function heard(dir: string, spec: string, wavs: readonly string[]): Promise<Ran> {
  const args = ["run", spec, "--fast", "--json", "--stt", "local/pocketsphinx", "--data", join(dir, "d")];
  return ran(await rspp([...args, "--out", join(dir, "reply.wav"), "--wav", ...wavs]));
}

function rawAsWav(dir: string, name: string): string {
  const path = join(dir, `${name}.wav`);
  writeFileSync(
    path,
    writeWav(bytesToS16(readFileSync(join(testData, `${name}.raw`))), { rateHz: 16_000, channels: 1 }),
  );
  return path;
}

test("in CI pocketsphinx and the human recordings are installed", () => {
  if (inCi) expect([pocketsphinx !== undefined, recordingsThere]).toEqual([true, true]);
});

describe.runIf(pocketsphinx !== undefined && recordingsThere)("a human voice through the whole platform", () => {
  test("F-002 F-130 `go forward ten meters` is heard, answered, and the answer's audio is recognised back", async () => {
    const dir = tempDir();
    const { turns, reply } = await heard(dir, template, [rawAsWav(dir, "goforward")]);
    expect(turns.slice(1).map((t) => [t.user, t.said, t.terminal, t.delivery])).toEqual([
      ["go forward ten meters", "Going forward ten meters.", "commit", "completed"],
    ]);
    expect(await recognise(await lastSpeech(readFileSync(reply)))).toBe("going forward ten meters");
  });

  test("F-130 numbers, with pauses between them, are one utterance and its words", async () => {
    const dir = tempDir();
    const { turns } = await heard(dir, specWith(dir, numbersGrammar), [rawAsWav(dir, "numbers")]);
    expect(turns.slice(1).map((t) => t.user)).toEqual(["thirty three four or six ninety two"]);
  });

  test("F-014 F-130 cards: three callers' utterances are three turns with their transcripts", async () => {
    const dir = tempDir();
    // Not the first: whatever silence stands before it, the recogniser makes a card of the noise it begins with.
    const transcripts = readFileSync(join(testData, "cards/cards.transcription"), "utf8")
      .trim()
      .split("\n")
      .slice(1, 4);
    const parsed = transcripts.map((line) => line.match(/<s> (.*?)\s+<\/s> \((\d+)\)/));
    const spec = specWith(dir, readFileSync(join(testData, "cards/cards.gram"), "utf8"));
    const { turns } = await heard(
      dir,
      spec,
      parsed.map((match) => join(testData, "cards", `${match?.[2]}.wav`)),
    );
    expect(turns.slice(1).map((t) => t.user)).toEqual(parsed.map((match) => match?.[1]));
  });
});

/** A spec file with provider configuration alone. */
function providersOnly(dir: string): string {
  const shipped = readFileSync(template, "utf8");
  const grammar = /grammar: \|\n((?: {10}.*\n)+)/.exec(shipped)?.[1] ?? "";
  const path = join(dir, "front-desk.yaml");
  writeFileSync(
    path,
    `schema: rspp/pipeline/v1
template: voice-assistant
name: front-desk
providers:
  stt:
    candidates: [local/pocketsphinx, sim/stt]
    settings:
      grammar: |
${grammar}  llm: {candidates: [local/responder]}
  tts: {candidates: [local/flite]}
`,
  );
  return path;
}

test("F-079 provider names alone make a pipeline that hears and answers aloud within its budget, in real time", async () => {
  const dir = tempDir();
  const args = ["run", providersOnly(dir), "--json", "--data", join(dir, "d"), "--out", join(dir, "reply.wav")];
  const { turns, reply } = ran(await rspp([...args, "--wav", questionPath("hours")]));
  expect(turns.map((t) => [t.origin, t.user, t.said.trim(), t.terminal, t.delivery])).toEqual([
    ["api", "", "Welcome. How can I help you?", "commit", "completed"],
    ["endpoint", "when do you open", "We open at nine.", "commit", "completed"],
  ]);
  for (const turn of turns) expect(turn.latencies.first_output_ms).toBeLessThan(2_000);
  expect(turns[1]?.latencies.voice_to_voice_ms).toBeLessThan(2_500);
  if (pocketsphinx !== undefined)
    expect(await recognise(await lastSpeech(readFileSync(reply)))).toBe("we open at nine");
});

interface Recorded {
  data: string;
  run: SessionRun;
  bytes: Buffer;
  stdout: Ran;
}

async function recordedAt(level: "L0" | "L1" | "L2"): Promise<Recorded> {
  const dir = tempDir();
  const data = join(dir, "d");
  const args = ["run", providersOnly(dir), "--fast", "--json", "--record", level, "--data", data];
  const stdout = ran(await rspp([...args, "--out", join(dir, "reply.wav"), "--wav", questionPath("hours")]));
  const store = openNodeStore(join(data, "spool"), { readOnly: true });
  if (!store.ok) throw new Error(store.error.detail);
  const read = readSession(store.value, stdout.session);
  expect(read.problems).toEqual([]);
  const [run] = read.runs;
  if (run === undefined) throw new Error("nothing was recorded");
  const segments = readdirSync(join(data, "spool")).filter((name) => name.endsWith(".seg"));
  return { data, run, stdout, bytes: Buffer.concat(segments.map((name) => readFileSync(join(data, "spool", name)))) };
}

/** At every level: each accepted turn has its sealed manifest and the addendum linked to it. */
function expectEvidence({ run }: Recorded, level: string): void {
  const contents = (kind: string, part: string): unknown[] =>
    run.records.filter((r) => r.kind === kind).map((r) => (r.content as Record<string, unknown>)[part]);
  const sealed = contents("evidence", "manifest") as SealedEvidence[];
  const addenda = contents("delivery_addendum", "addendum") as DeliveryAddendum[];
  expect(sealed.map((s) => [s.schema, s.missing, s.truncated, s.manifest.recordingLevel])).toEqual([
    ["or02/v1", [], 0, level],
    ["or02/v1", [], 0, level],
  ]);
  expect(sealed.every(verifyEvidence)).toBe(true);
  expect(addenda.map((a, i) => verifyAddendum(sealed[i] as SealedEvidence, a))).toEqual([true, true]);
  expect(run.ended).toBe(true);
}

/** What was said by either side; the first word of the question is in the grammar, the whole of it is not. */
function payloadTexts({ stdout }: Recorded): string[] {
  const said = ["Welcome", "How can I help you", "We open at nine"];
  // The simulated recogniser is told its transcripts in its settings, which are part of the plan.
  return stdout.recogniser === "sim/stt" ? said : [...said, 'when do you open"'];
}

describe("F-153 recording levels", () => {
  test("without --record the spec rules; raising it is said; what is not heard is status 1", async () => {
    const dir = tempDir();
    const wav = join(dir, "hum.wav");
    writeFileSync(wav, writeWav(new Int16Array(16_000), { rateHz: 16_000, channels: 1 }));
    const args = ["run", template, "--fast", "--json", "--stt", "sim/stt", "--out", join(dir, "reply.wav")];
    const own = ran(await rspp([...args, "--data", join(dir, "a"), "--wav", questionPath("hours")]));
    expect(own.recording).toEqual({ level: "L0", by: "the spec's recording.level; replay needs --record L1 or L2" });
    const raised = await rspp([
      ...args,
      "--data",
      join(dir, "b"),
      "--record",
      "L1",
      "--wav",
      questionPath("hours"),
      wav,
    ]);
    expect(raised.status, raised.all).toBe(1);
    expect(raised.stderr).toMatch(/recorded at L1: raised by --record from the spec's L0/);
    expect(raised.stderr).toMatch(/warning: sim\/stt knows no words for .*hum\.wav/);
    expect(raised.stderr).toMatch(/hum\.wav was not heard.*\n +help: /);
    expect(raised.stderr).not.toMatch(/hours\.wav was not heard/);
    expect(jsonOf<{ ok: boolean; unheard: string[] }>(raised)).toMatchObject({ ok: false, unheard: [wav] });
  });

  test("L0: complete evidence, no journal, no payload", async () => {
    const recorded = await recordedAt("L0");
    expectEvidence(recorded, "L0");
    expect([recorded.run.entries.length, recorded.run.payloads.size]).toEqual([0, 0]);
    expect(recorded.run.start).toMatchObject({ config: null });
    for (const text of payloadTexts(recorded)) expect(recorded.bytes.includes(text), text).toBe(false);
  });

  test("L1: the journal as well, and no payload in any byte; it replays over the recorded decisions", async () => {
    const recorded = await recordedAt("L1");
    expectEvidence(recorded, "L1");
    expect(recorded.run.entries.length).toBeGreaterThan(50);
    expect(recorded.run.payloads.size).toBe(0);
    for (const text of payloadTexts(recorded)) expect(recorded.bytes.includes(text), text).toBe(false);
    expect(recorded.bytes.includes('"base64"')).toBe(false);
    const replayed = await rspp(["replay", recorded.stdout.session, "--data", recorded.data]);
    expect(replayed.status, replayed.all).toBe(0);
    expect(replayed.stdout).toMatch(/re-executed \(over recorded decisions\): identical/);
  });

  test("L2: payloads as well", async () => {
    const recorded = await recordedAt("L2");
    expectEvidence(recorded, "L2");
    const payloads = [...recorded.run.payloads.values()];
    expect(payloads.some((p) => p.text === "when do you open")).toBe(true);
    expect(payloads.filter((p) => p.base64 !== undefined).length).toBeGreaterThan(50);
  });
});
