/** Bad input as people meet it: exit status 2, what and where it is wrong, and what to do; never a stack. */
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, join } from "node:path";
import { encodeMulaw } from "@rspp/audio/g711";
import { resample } from "@rspp/audio/resample";
import { writeWav } from "@rspp/audio/wav";
import { readWavSource } from "@rspp/transport-loopback/wav-source";
import { describe, expect, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import { type Finished, jsonOf, rspp, startRspp, tempDir, template } from "./rspp.ts";

/** Status 2, no stack, and every one of `parts`. */
function expectRefused(end: Finished, parts: readonly (string | RegExp)[]): void {
  expect(end.status, end.all).toBe(2);
  expect(end.stdout).toBe("");
  for (const part of parts) expect(end.stderr).toMatch(part);
  expect(end.stderr).not.toMatch(/^\s+at .*[:(]/m);
  expect(end.stderr).not.toMatch(/\.ts:\d/);
}

const question = questionPath("hours");

function specIn(dir: string, change: (source: string) => string): string {
  const path = join(dir, "spec.yaml");
  writeFileSync(path, change(readFileSync(template, "utf8")));
  return path;
}

describe("a wrong spec", () => {
  const cases: [string, (s: string) => string, (string | RegExp)[]][] = [
    ["YAML that is none", (s) => s.replace("nodes:", "nodes: [}"), [/spec\.yaml:\d+:\d+/, /help: /]],
    [
      "a wrong type",
      (s) => s.replace("min_speech_ms: 120", "min_speech_ms: soon"),
      [/spec\.yaml:\d+:\d+/, /min_speech_ms/, /help: /],
    ],
    ["an unknown field", (s) => s.replace("barge_in:", "barge_inn:"), [/barge_inn/, /did you mean "?barge_in/]],
    [
      "a cyclic graph",
      (s) =>
        s
          .replace("  - id: output\n", "  - {id: f1, kind: filter}\n  - {id: f2, kind: filter}\n  - id: output\n")
          .replace("tts.audio -> output.audio", "tts.audio -> output.audio\n  - f1.out -> f2.in\n  - f2.out -> f1.in"),
      [/cycle/i, /f1/, /f2/, /help: /],
    ],
    [
      "ports of unlike types",
      (s) => s.replace("- stt.text -> endpointing.text", "- stt.text -> vad.audio"),
      [/spec\.yaml:\d+:\d+/, /text/, /audio/, /help: /],
    ],
    ["an unknown node kind", (s) => s.replace("kind: segmenter", "kind: segmentor"), [/segmentor/, /segmenter/]],
    [
      "a secret written down",
      (s) => s.replace("language: en-US\n        #", "api_key: sk-abcdefghijklmnopqrstuvwx\n        #"),
      [/api_key/, /env:/],
    ],
  ];
  test.each(cases)("F-078 %s: file, line, column, field and remedy", async (_name, change, parts) => {
    const dir = tempDir();
    const spec = specIn(dir, change);
    const [lint, run] = await Promise.all([
      rspp(["lint", spec]),
      rspp(["run", spec, "--fast", "--wav", question, "--data", join(dir, "d"), "--out", join(dir, "o.wav")]),
    ]);
    expectRefused(lint, parts);
    expectRefused(run, parts);
    expect(readdirSync(dir)).toEqual(["spec.yaml"]);
  });

  test("a spec that is not there, and wrong usage", async () => {
    const dir = tempDir();
    const [missing, unknown, level, none] = await Promise.all([
      rspp(["lint", join(dir, "nowhere.yaml")]),
      rspp(["sing"]),
      rspp(["run", template, "--wav", question, "--record", "L9"]),
      rspp(["run", template]),
    ]);
    expectRefused(missing, [/nowhere\.yaml: cannot be read \(ENOENT\)/, /help: /]);
    expect([unknown.status, level.status, none.status]).toEqual([2, 2, 2]);
    expect(level.stderr).toMatch(/L0, L1, L2/);
    expect(none.stderr).toMatch(/--wav/);
  });

  test("a version that was published with another content is refused: raise the version", async () => {
    const dir = tempDir();
    const args = [
      "--fast",
      "--stt",
      "sim/stt",
      "--wav",
      question,
      "--data",
      join(dir, "d"),
      "--out",
      join(dir, "o.wav"),
    ];
    const spec = specIn(dir, (s) => s);
    const first = await rspp(["run", spec, ...args]);
    expect(first.status, first.all).toBe(0);
    // A comment is no change; a setting is.
    specIn(dir, (s) => `# a comment\n${s}`);
    expect((await rspp(["run", spec, ...args])).status).toBe(0);
    specIn(dir, (s) => s.replace("min_speech_ms: 120", "min_speech_ms: 140"));
    expectRefused(await rspp(["run", spec, ...args]), [/voice-assistant@1/, /raise `version`/]);
    specIn(dir, (s) => s.replace("min_speech_ms: 120", "min_speech_ms: 140").replace("version: 1", "version: 2"));
    expect((await rspp(["run", spec, ...args])).status).toBe(0);
    expect(readdirSync(join(dir, "d", "pipelines")).sort()).toEqual([
      "voice-assistant@1.json",
      "voice-assistant@2.json",
    ]);
  });
});

/** A WAV of any kind, by hand. */
function wavOf(format: number, channels: number, rateHz: number, bits: number, data: Uint8Array): Uint8Array {
  const head = Buffer.alloc(44);
  head.write("RIFF", 0, "latin1");
  head.writeUInt32LE(36 + data.length, 4);
  head.write("WAVEfmt ", 8, "latin1");
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(format, 20);
  head.writeUInt16LE(channels, 22);
  head.writeUInt32LE(rateHz, 24);
  head.writeUInt32LE((rateHz * channels * bits) / 8, 28);
  head.writeUInt16LE((channels * bits) / 8, 32);
  head.writeUInt16LE(bits, 34);
  head.write("data", 36, "latin1");
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

function s24(samples: Int16Array): Uint8Array {
  const bytes = Buffer.alloc(samples.length * 3);
  for (const [i, v] of samples.entries()) bytes.writeIntLE(v * 256, i * 3, 3);
  return bytes;
}

const stereo = (samples: Int16Array): Int16Array =>
  Int16Array.from({ length: samples.length * 2 }, (_, i) => samples[i >> 1] ?? 0);

describe("WAVs", () => {
  test("odd ones that are legal are heard and answered: 8 to 48 kHz, stereo, 24 bit, mu-law", async () => {
    const dir = tempDir();
    const { samples } = await readWavSource(question);
    const at = (outRateHz: number) => resample(samples, { inRateHz: 16_000, outRateHz });
    const narrow = await at(8_000);
    const wavs: Record<string, Uint8Array> = {
      "8k": writeWav(narrow, { rateHz: 8_000, channels: 1 }),
      "44k1": writeWav(await at(44_100), { rateHz: 44_100, channels: 1 }),
      "48k-stereo": writeWav(stereo(await at(48_000)), { rateHz: 48_000, channels: 2 }),
      "24bit": wavOf(1, 1, 16_000, 24, s24(samples)),
      mulaw: wavOf(7, 1, 8_000, 8, encodeMulaw(narrow)),
    };
    const files = Object.entries(wavs).map(([name, bytes]) => {
      writeFileSync(join(dir, `${name}.wav`), bytes);
      writeFileSync(join(dir, `${name}.txt`), "when do you open\n");
      return join(dir, `${name}.wav`);
    });
    const args = ["run", template, "--fast", "--json", "--stt", "sim/stt", "--data", join(dir, "d")];
    const end = await rspp([...args, "--out", join(dir, "o.wav"), "--wav", ...files]);
    expect(end.status, end.all).toBe(0);
    const { turns } = jsonOf<{ turns: { user: string; said: string; terminal: string; delivery: string }[] }>(end);
    expect(turns.slice(1).map((t) => [t.user, t.said, t.terminal, t.delivery])).toEqual(
      files.map(() => ["when do you open", "We open at nine.", "commit", "completed"]),
    );
  });

  test("missing, empty, no WAV, truncated, a folder: the file, what is wrong, what to do", async () => {
    const dir = tempDir();
    const whole = readFileSync(question);
    const file = (name: string, bytes: Uint8Array): string => {
      writeFileSync(join(dir, name), bytes);
      return join(dir, name);
    };
    mkdirSync(join(dir, "folder.wav"));
    const cases: [string, RegExp][] = [
      [join(dir, "nowhere.wav"), /there is no such file/],
      [file("empty.wav", new Uint8Array(0)), /the file is empty/],
      [file("text.wav", Buffer.from("these are words, not audio, and quite a few of them")), /RIFF|WAV/],
      [file("half.wav", whole.subarray(0, whole.length >> 1)), /promises more audio than the file holds/],
      [file("header.wav", whole.subarray(0, 30)), /WAV|chunk/],
      [join(dir, "folder.wav"), /directory/],
      [file("fast.wav", wavOf(1, 1, 192_000, 16, new Uint8Array(38_400))), /192000|kHz|Hz/],
      [file("many.wav", wavOf(1, 6, 16_000, 16, new Uint8Array(19_200))), /channels/],
    ];
    const ends = await Promise.all(
      cases.map(([path]) =>
        rspp(["run", template, "--fast", "--wav", path, "--data", join(dir, "d"), "--out", join(dir, "o.wav")]),
      ),
    );
    ends.forEach((end, i) => {
      const [path = "", problem = /./] = cases[i] ?? [];
      expectRefused(end, [basename(path), problem, /\S\. [A-Z]/]);
    });
  });
});

describe("recordings", () => {
  test("F-150 a truncated and a flipped segment: `replay` says what is damaged and where, status 1", async () => {
    const dir = tempDir();
    const data = join(dir, "d");
    const end = await rspp(["demo", "--once", "--fast", "--json", "--data", data, "--out", join(dir, "o.wav")]);
    expect(end.status, end.all).toBe(0);
    const { session } = jsonOf<{ session: string }>(end);
    const good = await rspp(["replay", session, "--data", data]);
    expect([good.status, good.stderr], good.all).toEqual([0, ""]);
    expect(good.stdout).toMatch(/turn 2: commit, .*replay identical/);
    expect(good.stdout).toMatch(/steps re-executed .*: identical/);
    const listed = await rspp(["sessions", "--data", data]);
    expect(listed.stdout).toContain(session);

    const spool = join(data, "spool");
    const [segment = ""] = readdirSync(spool).filter((name) => name.endsWith(".seg"));
    const file = join(spool, segment);
    const whole = readFileSync(file);
    truncateSync(file, whole.length - 7);
    const torn = await rspp(["replay", session, "--data", data]);
    expect(torn.status, torn.all).toBe(1);
    expect(torn.stdout).toMatch(/damaged: .*\d+.*(cut short|torn)/);
    expect(torn.all).not.toMatch(/\.ts:\d/);

    writeFileSync(file, whole);
    const handle = openSync(file, "r+");
    const middle = whole.length >> 1;
    writeSync(handle, Uint8Array.of((whole[middle] ?? 0) ^ 0x10), 0, 1, middle);
    closeSync(handle);
    const flipped = await rspp(["replay", session, "--data", data]);
    expect(flipped.status, flipped.all).toBe(1);
    expect(flipped.stdout).toMatch(/damaged: .*checksum/);
    expect(flipped.stdout).toMatch(/damaged: steps \d+ to \d+ are missing: replayed up to step \d+ of \d+/);
    expect(flipped.all).not.toMatch(/\.ts:\d/);
    const asJson = await rspp(["replay", session, "--data", data, "--json"]);
    expect([asJson.status, jsonOf<{ problems: string[] }>(asJson).problems.length > 0]).toEqual([1, true]);
  });

  test("an unknown session, a folder without recordings, and a session recorded at L0", async () => {
    const dir = tempDir();
    const data = join(dir, "d");
    const args = ["run", template, "--fast", "--json", "--stt", "sim/stt", "--record", "L0", "--wav", question];
    const run = await rspp([...args, "--data", data, "--out", join(dir, "o.wav")]);
    expect(run.status, run.all).toBe(0);
    const { session } = jsonOf<{ session: string }>(run);
    const [unknown, nowhere, l0] = await Promise.all([
      rspp(["replay", "call_unknown", "--data", data]),
      rspp(["replay", session, "--data", join(dir, "nowhere")]),
      rspp(["replay", session, "--data", data]),
    ]);
    expectRefused(unknown, [/call_unknown: not in this spool/, /help: .*rspp sessions/]);
    expectRefused(nowhere, [/nowhere/, /help: /]);
    expectRefused(l0, [/recorded at L0/, /help: .*L1 or L2/]);
  });

  test("a data folder in use by another process is refused by name of that process", async () => {
    const dir = tempDir();
    const data = join(dir, "d");
    const up = startRspp(["demo", "--fast", "--port", "0", "--data", data, "--out", join(dir, "o.wav")]);
    await up.said(/ready: talk to it/);
    const second = await rspp(["demo", "--once", "--fast", "--data", data, "--out", join(dir, "p.wav")]);
    expectRefused(second, [new RegExp(`in use by process ${up.child.pid}`), /--data/]);
    up.child.kill("SIGTERM");
    expect((await up.finished).status).toBe(0);
  });
});
