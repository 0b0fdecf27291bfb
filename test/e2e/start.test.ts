/** `npm start` as a stranger runs it: a process, in real time, judged by what it prints and by the audio it leaves. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { bytesToS16 } from "@rspp/audio/pcm";
import { writeWav } from "@rspp/audio/wav";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { verifySpool } from "@rspp/runtime/spool/reader";
import { readWavSource } from "@rspp/transport-loopback/wav-source";
import { describe, expect, test } from "vitest";
import { questionPath } from "../fixtures/questions.ts";
import { type Finished, jsonOf, lastSpeech, plain, pocketsphinx, recognise, rspp, startRspp, tempDir } from "./rspp.ts";

const inCi = process.env.CI === "true";

interface DemoTurn {
  turn: number;
  origin: string;
  user: string;
  said: string;
  heard: string;
  terminal: string;
  delivery: string;
  playedMs: number;
  planHash: string;
  evidenceHash: string;
  replay: string;
  latencies_ms: Record<string, number>;
}
interface Demo {
  ok: boolean;
  recogniser: string;
  session: string;
  turns: DemoTurn[];
  samples_after_cut: number;
  replay: { identical: boolean; level: string; steps: number; divergences: unknown[] };
  clock: string;
  metrics: Record<string, { count: number }>;
  reply: string;
}

function expectThreeTurns(demo: Demo): void {
  expect(demo.ok).toBe(true);
  expect(demo.samples_after_cut).toBe(0);
  expect(demo.replay).toMatchObject({ identical: true, level: "effects", divergences: [] });
  const [greeting, story, february] = demo.turns;
  expect(demo.turns.map((t) => [t.turn, t.origin, t.terminal, t.delivery, t.replay])).toEqual([
    [1, "api", "commit", "completed", "identical"],
    [2, "endpoint", "commit", "cancelled", "identical"],
    [3, "endpoint", "commit", "completed", "identical"],
  ]);
  expect(greeting?.heard).toBe("Welcome. How can I help you?");
  expect([story?.user, february?.user]).toEqual(["tell me a story", "how many days are in february"]);
  expect(february?.heard).toBe("February has twenty eight days or twenty nine in a leap year.");
  // Heard is a proper prefix of what was said, and ends with a whole word.
  const { said = "", heard = "" } = story ?? {};
  expect(said.startsWith(heard)).toBe(true);
  expect(heard.split(" ").length).toBeGreaterThan(3);
  expect(heard.length).toBeLessThan(said.length);
  expect(said.charAt(heard.length)).toBe(" ");
  for (const turn of demo.turns) {
    expect(turn.planHash).toMatch(/^[0-9a-f]{64}$/);
    expect(turn.evidenceHash).toMatch(/^[0-9a-f]{64}$/);
  }
}

function expectSpool(data: string): void {
  const store = openNodeStore(join(data, "spool"), { readOnly: true });
  if (!store.ok) throw new Error(store.error.detail);
  expect(verifySpool(store.value)).toMatchObject({ ok: true, problems: [] });
  expect(existsSync(join(data, "spool", "spool.lock"))).toBe(false);
}

async function expectAnswerIn(wav: string): Promise<void> {
  if (pocketsphinx === undefined) return;
  expect(await recognise(await lastSpeech(readFileSync(wav)))).toBe(
    "february has twenty eight days or twenty nine in a leap year",
  );
}

async function runDemo(extra: string[], env: Record<string, string> = {}): Promise<{ run: Finished; data: string }> {
  const data = join(tempDir(), "data");
  const args = ["demo", "--once", "--json", "--data", data, "--out", join(data, "reply.wav"), ...extra];
  return { run: await rspp(args, { env }), data };
}

test("in CI the recogniser is installed, so that the question is really recognised", () => {
  if (inCi) expect(pocketsphinx).toBeDefined();
});

describe("npm start -- --once --json", () => {
  test("F-002 F-033 F-039 F-125 F-130 in real time: three turns, one cut after its commit, all replayed identically", async () => {
    const { run, data } = await runDemo([]);
    expect(run.status, run.all).toBe(0);
    expect(run.stdout.trim().split("\n").length).toBe(1);
    const demo = jsonOf<Demo>(run);
    expectThreeTurns(demo);
    expect(demo.recogniser).toBe(pocketsphinx === undefined ? "sim/stt" : "local/pocketsphinx");
    expect(demo.clock).toBe("real");
    for (const name of ["turn_open_ms", "first_output_ms", "voice_to_voice_ms", "cancel_fence_ms"])
      expect(demo.metrics[name]?.count, name).toBeGreaterThan(0);
    expect(demo.turns[1]?.latencies_ms.voice_to_voice_ms).toBeGreaterThan(400);
    expect(readdirSync(join(data, "pipelines"))).toEqual(["voice-assistant@1.json"]);
    expectSpool(data);
    await expectAnswerIn(demo.reply);
  });

  test("F-130 --fast: the same under a virtual clock, and it says that no latency was measured", async () => {
    const { run, data } = await runDemo(["--fast"]);
    expect(run.status, run.all).toBe(0);
    const demo = jsonOf<Demo>(run);
    expectThreeTurns(demo);
    expect(demo.clock).toBe("virtual");
    expect(run.stderr).toMatch(/virtual clock.*not measured/i);
    expect(run.stderr).not.toMatch(/first audio/);
    expectSpool(data);
    await expectAnswerIn(demo.reply);
  });

  test("F-078 without pocketsphinx the simulated recogniser takes over, and one clear line says so", async () => {
    const { run } = await runDemo(["--fast"], { PATH: tempDir() });
    expect(run.status, run.all).toBe(0);
    const demo = jsonOf<Demo>(run);
    expectThreeTurns(demo);
    expect(demo.recogniser).toBe("sim/stt");
    const told = run.stderr.split("\n").filter((line) => line.includes("SIMULATED"));
    expect(told.length).toBe(1);
    expect(told[0]).toMatch(/pocketsphinx is not installed.*apt-get install/);
  });
});

async function post(url: string, body: Uint8Array, method = "POST"): Promise<{ status: number; body: Uint8Array }> {
  const answer = await fetch(url, { method, body: new Uint8Array(body) });
  return { status: answer.status, body: new Uint8Array(await answer.arrayBuffer()) };
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

/** Speaks raw audio at the pace of a microphone, then hangs up. @returns what came back. */
function talkRaw(url: string, samples: Int16Array): Promise<Int16Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    const call = request(url, { method: "PUT", headers: { "transfer-encoding": "chunked" } }, (answer) => {
      answer.on("data", (chunk: Buffer) => parts.push(chunk));
      answer.on("end", () => resolve(bytesToS16(Buffer.concat(parts))));
    });
    call.on("error", reject);
    const bytes = Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
    let at = 0;
    const microphone = setInterval(() => {
      if (at >= bytes.length) {
        clearInterval(microphone);
        call.end();
        return;
      }
      call.write(bytes.subarray(at, at + 1_280));
      at += 1_280;
    }, 40);
  });
}

/** Begins to speak and breaks off, without a word, as soon as the call stands. */
function breakOff(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const call = request(url, { method: "PUT", headers: { "transfer-encoding": "chunked" } }, (answer) => {
      answer.on("error", () => {});
      call.destroy();
      resolve(answer.statusCode);
    });
    call.on("error", () => {});
    call.write(new Uint8Array(1_280));
  });
}

/** Silence before, so that the greeting is heard out, and after, so that the answer is. */
function inSilence(speech: Int16Array, beforeMs: number, afterMs: number): Int16Array {
  const samples = new Int16Array(speech.length + (beforeMs + afterMs) * 16);
  samples.set(speech, beforeMs * 16);
  return samples;
}

describe("npm start without --once", () => {
  test("F-078 F-130 it stays up: a WAV or raw audio is answered, bad ones are refused, SIGTERM stops it gracefully", async () => {
    const data = join(tempDir(), "data");
    const args = ["demo", "--data", data, "--out", join(data, "reply.wav"), "--port", "0", "--fast"];
    const up = startRspp(args);
    const [, url = ""] = await up.said(/ready: talk to it at (\S+)/);
    await up.said(/curl .*\n.*arecord .*\n/);
    const deaf = pocketsphinx === undefined;
    expect(up.text().includes("nothing can be recognised here")).toBe(deaf);

    const bad = await Promise.all([
      post(url, Buffer.from("hello, this is no audio")),
      post(`${url}?rate=5`, Buffer.alloc(64), "PUT"),
      post(url.replace("/talk", "/elsewhere"), Buffer.alloc(0)),
      post(url, new Uint8Array(0)),
    ]);
    expect(bad.map((answer) => answer.status)).toEqual(deaf ? [503, 400, 404, 503] : [400, 400, 404, 400]);
    expect(text(bad[0]?.body ?? new Uint8Array())).toMatch(deaf ? /recognised/ : /WAV/);
    expect(text(bad[1]?.body ?? new Uint8Array())).toMatch(/8000 to 48000/);
    expect(text(bad[2]?.body ?? new Uint8Array())).toMatch(/POST a WAV/);

    const { samples } = await readWavSource(questionPath("hours"));
    const inOne = Buffer.from(inSilence(samples, 2_400, 0).buffer);
    const [wav, file, raw] = await Promise.all([
      post(url, writeWav(samples, { rateHz: 16_000, channels: 1 })),
      post(`${url}?rate=16000`, inOne, "PUT"),
      talkRaw(`${url}?rate=16000`, inSilence(samples, 2_400, 3_000)),
    ]);
    expect(wav.status).toBe(deaf ? 503 : 200);
    if (pocketsphinx !== undefined) {
      // Three calls at once; greeting and answer were streamed to the raw ones while they played, whether file or microphone.
      expect(raw.length / 16_000).toBeGreaterThan(2.4);
      expect(await recognise(await lastSpeech(wav.body))).toBe("we open at nine");
      expect(await recognise(raw.subarray(1.7 * 16_000))).toBe("we open at nine");
      expect(await recognise(bytesToS16(file.body).subarray(1.7 * 16_000))).toBe("we open at nine");
    }

    // A caller who breaks off in the middle ends his call; one who is still there at the end is let go.
    const calls = up.text().split("call over").length;
    expect(await breakOff(`${url}?rate=16000`)).toBe(200);
    await up.said(new RegExp(`(call over[^]*){${calls}}`));
    expect(up.text()).not.toContain("call failed");

    up.child.kill("SIGTERM");
    const end = await up.finished;
    expect([end.status, end.signal], end.all).toEqual([0, null]);
    expect(end.all).toContain("stopping");
    expectSpool(data);
  });

  test("F-078 with the simulated recogniser a WAV is refused, not answered with what the demonstration's callers said", async () => {
    const data = join(tempDir(), "data");
    const args = [
      "demo",
      "--data",
      data,
      "--out",
      join(data, "reply.wav"),
      "--port",
      "0",
      "--fast",
      "--stt",
      "sim/stt",
    ];
    const up = startRspp(args);
    const [, url = ""] = await up.said(/ready: talk to it at (\S+).*nothing can be recognised here/);
    const answer = await post(url, readFileSync(questionPath("hours")));
    expect([answer.status, text(answer.body)]).toEqual([503, expect.stringMatching(/nothing can be recognised here/)]);
    up.child.kill("SIGTERM");
    expect((await up.finished).status).toBe(0);
  });

  test("a port in use is refused with what to do, before the demonstration is played", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as { port: number };
    try {
      const data = join(tempDir(), "data");
      const end = await rspp(["demo", "--fast", "--data", data, "--out", join(data, "r.wav"), "--port", String(port)]);
      expect(end.status).toBe(2);
      expect(end.stderr).toMatch(new RegExp(`port ${port} .*EADDRINUSE`));
      expect(end.stderr).toMatch(/help: choose another with --port/);
      expect(end.all).not.toMatch(/ at .*\.ts:/);
    } finally {
      server.close();
    }
  });
});

test("the account names what was heard, said and cut", async () => {
  const data = join(tempDir(), "data");
  const end = await rspp(["demo", "--once", "--fast", "--data", data, "--out", join(data, "reply.wav")]);
  expect(end.status, end.all).toBe(0);
  for (const line of [
    /caller +"tell me a story"/,
    /caller +barges in/,
    /cut after \d+\.\d s of playback/,
    /caller heard +"Once upon a time/,
    /replayed \d+ steps from the recording: identical/,
    /samples played after the cut: 0/,
  ])
    expect(end.stdout).toMatch(line);
  expect(plain(end.stdout)).toContain("february has twenty eight days");
});
