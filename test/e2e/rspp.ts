/** Runs the command line as people do: a process of its own, with a data directory of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { s16ToBytes } from "@rspp/audio/pcm";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import { answersGrammar } from "@rspp/provider-gateway/local/assistant-grammar";
import { findPocketsphinx, startDecoder } from "@rspp/provider-gateway/local/pocketsphinx-decoder";
import { onTestFinished } from "vitest";

const bin = join(import.meta.dirname, "../../cli/bin/rspp.js");

/** Where the recogniser is; undefined when it is not installed. In CI it must be (start.test.ts). */
export const pocketsphinx = findPocketsphinx();
export const testData = "/usr/share/pocketsphinx/test/data";
export const template = join(import.meta.dirname, "../../pipelines/specs/voice-assistant.yaml");

/** A folder that goes with the test. */
export function tempDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "rspp-e2e-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  return dir;
}

export interface Finished {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** Both, in the order they came. */
  all: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Both outputs so far. */
  text(): string;
  /** Settles with the match once either output holds it; rejects with what was said when the process ends before. */
  said(pattern: RegExp): Promise<RegExpMatchArray>;
}

export interface StartOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** The caller kills it, for what lives longer than one test. */
  kept?: boolean;
}

/** Starts `rspp …`; it is killed at the end of the test whatever happens. */
export function startRspp(args: readonly string[], options: StartOptions = {}): Running {
  const { OPENAI_BASE_URL: _url, OPENAI_API_KEY: _key, ...clean } = process.env;
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: options.cwd ?? tempDir(),
    env: { ...clean, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (options.kept !== true) onTestFinished(() => void child.kill("SIGKILL"));
  let stdout = "";
  let stderr = "";
  let all = "";
  const waiting = new Set<() => void>();
  const took = (): void => {
    for (const look of waiting) look();
  };
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    all += text;
    took();
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    all += text;
    took();
  });
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, stdout, stderr, all }));
  });
  const said = (pattern: RegExp): Promise<RegExpMatchArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const match = all.match(pattern);
        if (match === null) return;
        waiting.delete(look);
        resolve(match);
      };
      waiting.add(look);
      look();
      const ended = (): void => reject(new Error(`ended before it said ${pattern}:\n${all}`));
      finished.then(ended, ended);
    });
  return { child, finished, said, text: () => all };
}

/** Runs `rspp …` to its end. */
export function rspp(args: readonly string[], options: StartOptions = {}): Promise<Finished> {
  return startRspp(args, options).finished;
}

/** The one object that `--json` ends with: the last line of stdout. */
export function jsonOf<T = Record<string, unknown>>(finished: Finished): T {
  const last = finished.stdout.trim().split("\n").at(-1) ?? "";
  return JSON.parse(last) as T;
}

/** What a listener would write down of 16 kHz mono speech; "" where it is no speech. */
export async function recognise(samples: Int16Array, grammar: string = answersGrammar): Promise<string> {
  if (pocketsphinx === undefined) throw new Error("pocketsphinx is not installed");
  const decoder = startDecoder(pocketsphinx, grammar);
  const silence = new Uint8Array(6_400);
  decoder.write(silence);
  decoder.write(s16ToBytes(samples));
  decoder.write(silence);
  decoder.end();
  return (await decoder.result).text;
}

/** The last stretch of speech of a WAV: what comes after the last silence of at least half a second. */
export async function lastSpeech(wav: Uint8Array): Promise<Int16Array> {
  const samples = await wavTo16kMono(parseWav(wav));
  const quiet = 8_000;
  let end = samples.length;
  while (end > 0 && Math.abs(samples[end - 1] as number) < 64) end--;
  let start = end;
  let still = 0;
  while (start > 0 && still < quiet) {
    start--;
    still = Math.abs(samples[start] as number) < 64 ? still + 1 : 0;
  }
  return samples.subarray(start + still, end);
}

/** As a recogniser writes it: lower case, words only. */
export function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z' ]+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
}
