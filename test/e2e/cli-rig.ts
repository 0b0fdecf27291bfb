/** A platform as `rspp up` starts it, for tests of the commands that talk to one. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Finished } from "./rspp.ts";

const bin = join(import.meta.dirname, "../../cli/bin/rspp.js");
const readyWithinMs = 60_000;

export interface UpPlatform {
  /** Addresses, for the environment of other commands. */
  readonly env: Readonly<Record<string, string>>;
  /** URL by service. */
  readonly urls: Readonly<Record<string, string>>;
  readonly websocket: string;
  readonly data: string;
  /** Both outputs so far. */
  text(): string;
  stop(): Promise<void>;
}

/** On free ports, with a data directory that goes with it. */
export async function startUp(args: readonly string[] = []): Promise<UpPlatform> {
  const data = mkdtempSync(join(tmpdir(), "rspp-cli-"));
  const all = ["up", "--json", "--port-base", "0", "--data", data, "--log-level", "debug", ...args];
  const child = spawn(process.execPath, [bin, ...all], { env: cleanEnv(), stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let text = "";
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const ready = new Promise<Record<string, unknown>[]>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`rspp up was not ready in time:\n${text}`)), readyWithinMs);
    child.stderr.on("data", (chunk: Buffer) => (text += chunk));
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk;
      text += chunk;
      const lines = out.split("\n").filter((line) => line.startsWith("{"));
      if (!out.includes('"service":"platform"') || !out.endsWith("\n")) return;
      clearTimeout(timer);
      resolve(lines.map((line) => JSON.parse(line) as Record<string, unknown>));
    });
    child.once("close", () => {
      clearTimeout(timer);
      reject(new Error(`rspp up ended before it was ready:\n${text}`));
    });
  });
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  };
  const lines = await ready.catch(async (error: unknown) => {
    child.kill("SIGKILL");
    await stop();
    throw error;
  });
  const urls = Object.fromEntries(lines.map(({ service, url }) => [String(service), String(url)]));
  const env = {
    RSPP_REGISTRY: urls.registry ?? "",
    RSPP_RUNTIME: urls.runtime ?? "",
    RSPP_REPLAY: urls.replay ?? "",
  };
  const websocket = String(lines.find(({ service }) => service === "platform")?.websocket ?? "");
  return { env, urls, websocket, data, text: () => text, stop };
}

function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("RSPP_") && !name.startsWith("OPENAI_")),
  );
}

/** Names the problem and the remedy, without a stack. */
export function problemsOf({ status, stderr, all }: Finished, wanted: number): string {
  if (status !== wanted) return `status ${status}, not ${wanted}:\n${all}`;
  if (/^\s+at .*[:(]/m.test(stderr) || /\.ts:\d/.test(stderr)) return `a stack:\n${stderr}`;
  return "";
}
