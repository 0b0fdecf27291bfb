/** Benchmarks over sockets: the platform and its callers in processes of their own, each on a core of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const canPin = spawnSync("taskset", ["--version"], { stdio: "ignore" }).status === 0;
const START_MS = 30_000;

/** As `rspp` starts a runtime: it has one core, so that collector threads would only take it from itself. */
export const NODE_FLAGS: readonly string[] = ["--single-threaded-gc"];

export const PINNED: string = canPin ? "pinned: platform on core 0, callers on core 1" : "NOT pinned (no taskset)";

/** A child that says JSON lines. */
export class Child {
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  #waiting: ((line: string | null) => void)[] = [];
  #errors = "";

  constructor(script: string, args: readonly string[], core: number) {
    const command = [process.execPath, ...NODE_FLAGS, file(script), ...args];
    const all = canPin ? ["taskset", "-a", "-c", String(core), ...command] : command;
    this.#process = spawn(all[0] ?? "", all.slice(1), { stdio: ["pipe", "pipe", "pipe"] });
    if (this.#process.stdout !== null) {
      createInterface({ input: this.#process.stdout }).on("line", (line) => this.#line(line));
    }
    this.#process.stderr?.on("data", (data: Buffer) => {
      this.#errors = (this.#errors + data.toString()).slice(-2_000);
    });
    this.#process.once("exit", () => {
      for (const resolve of this.#waiting.splice(0)) resolve(null);
    });
  }

  /** The next line it says. @throws Error with its last words when it ends or is silent for too long. */
  async next<T>(maxMs: number = START_MS): Promise<T> {
    const line = this.#lines.shift() ?? (await this.#wait(maxMs));
    if (line === null) throw new Error(`a process of the benchmark said nothing: ${this.#errors}`);
    return JSON.parse(line) as T;
  }

  /** Sends an empty line and gives the answer. */
  ask<T>(): Promise<T> {
    this.#process.stdin?.write("\n");
    return this.next<T>();
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin?.end();
    const forced = setTimeout(() => this.#process.kill("SIGKILL"), 5_000);
    await gone;
    clearTimeout(forced);
  }

  #line(line: string): void {
    const resolve = this.#waiting.shift();
    if (resolve === undefined) this.#lines.push(line);
    else resolve(line);
  }

  #wait(maxMs: number): Promise<string | null> {
    if (this.#process.exitCode !== null) return Promise.resolve(null);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(null), maxMs);
      this.#waiting.push((line) => {
        clearTimeout(timer);
        resolve(line);
      });
    });
  }
}

/** What `ws-server.ts` says. */
export interface ServerFigures {
  cpuPercent: number;
  waitedPercent: number;
  sessions: number;
  rssMb: number;
  fence: { p50Ms: number; p99Ms: number; count: number } | null;
}
