/** One service as a process of its own: its ready line, its last words, and its restart when it dies. */
import { type ChildProcess, spawn } from "node:child_process";
import { getCompileCacheDir } from "node:module";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { ReadyLine } from "@rspp/host/start";
import type { UpService } from "./plan.ts";

export interface ChildOptions {
  readonly service: UpService;
  /** Asked for at each start. */
  flags(): string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What is run; default the service's own `main.ts`. */
  readonly main?: string;
  /** Pause before the first new start, milliseconds; default 250. */
  readonly againFirstMs?: number;
  /** It was ready again after it had died. */
  onBack(ready: ReadyLine): void;
  /** It died by itself. `againMs`: it is started again after so long; null: no more. */
  onDied(why: string, lastLines: readonly string[], againMs: number | null): void;
}

export interface ChildEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

const lastLinesMax = 12;
const lineCharsMax = 2_000;
const readyWithinMs = 60_000;
const againFirstMs = 250;
const againMaxMs = 5_000;
/** Deaths within the window before it is given up: a crash loop must not eat the machine. */
const deathsMax = 5;
const deathsWindowMs = 60_000;

/** It did not come to be ready. */
export class ChildNotReady extends Error {
  override readonly name = "ChildNotReady";
  readonly status: number | null;
  readonly lastLines: readonly string[];

  constructor(status: number | null, lastLines: readonly string[]) {
    super("the process ended before it was ready");
    this.status = status;
    this.lastLines = lastLines;
  }
}

export class Child {
  readonly #options: ChildOptions;
  #process: ChildProcess | null = null;
  #ended: Promise<ChildEnd> = Promise.resolve({ status: 0, signal: null });
  #lastLines: string[] = [];
  readonly #deathsMs: number[] = [];
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;
  #ready: ReadyLine | null = null;

  constructor(options: ChildOptions) {
    this.#options = options;
  }

  get service(): UpService {
    return this.#options.service;
  }

  /** Of its present or last life. */
  get ready(): ReadyLine | null {
    return this.#ready;
  }

  /** @throws ChildNotReady. From then on it is started again whenever it dies. */
  async start(): Promise<ReadyLine> {
    const ready = await this.#launch();
    this.#watch();
    return ready;
  }

  /** Asks it to stop in order; what does not within `withinMs` is killed. */
  async stop(withinMs: number): Promise<ChildEnd> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#process;
    child?.kill("SIGTERM");
    const late = setTimeout(() => child?.kill("SIGKILL"), withinMs);
    const end = await this.#ended;
    clearTimeout(late);
    return end;
  }

  async #launch(): Promise<ReadyLine> {
    const { service, env } = this.#options;
    const { main = fileURLToPath(new URL(`../../../services/${service}/src/main.ts`, import.meta.url)) } =
      this.#options;
    // A pipe that nobody writes to: it ends when this process does, however that is, and the child with it.
    const child = spawn(process.execPath, [...process.execArgv, main, ...this.#options.flags()], {
      env: { ...compiled(), ...env, RSPP_STOP_WITH_STDIN: "1" },
      stdio: ["pipe", "pipe", "pipe"],
      // A group of its own: Ctrl-C in a terminal reaches the parent alone, who stops all in order.
      detached: true,
    });
    this.#process = child;
    this.#lastLines = [];
    child.stdin.on("error", () => undefined);
    this.#ended = new Promise((resolve) => {
      child.once("error", () => resolve({ status: 1, signal: null }));
      child.once("close", (status, signal) => resolve({ status, signal }));
    });
    lines(child.stderr, (line) => this.#said(line));
    const told = new Promise<ReadyLine>((resolve) => {
      lines(child.stdout, (line) => {
        const ready = readyOf(line);
        if (ready !== null) resolve(ready);
      });
    });
    const late = setTimeout(() => child.kill("SIGKILL"), readyWithinMs);
    const ready = await Promise.race([told, this.#ended]);
    clearTimeout(late);
    if (!("ready" in ready)) throw new ChildNotReady(ready.status, this.#lastLines);
    this.#ready = ready;
    return ready;
  }

  #said(line: string): void {
    process.stderr.write(`${line}\n`);
    this.#lastLines.push(line.slice(0, lineCharsMax));
    if (this.#lastLines.length > lastLinesMax) this.#lastLines.shift();
  }

  #watch(): void {
    void this.#ended.then(({ status, signal }) => {
      if (this.#stopping) return;
      this.#died(signal === null ? `ended with status ${status}` : `was ended by ${signal}`);
    });
  }

  #died(why: string): void {
    const nowMs = performance.now();
    this.#deathsMs.push(nowMs);
    while ((this.#deathsMs[0] ?? nowMs) < nowMs - deathsWindowMs) this.#deathsMs.shift();
    const deaths = this.#deathsMs.length;
    const firstMs = this.#options.againFirstMs ?? againFirstMs;
    const againMs = deaths > deathsMax ? null : Math.min(againMaxMs, firstMs * 2 ** (deaths - 1));
    this.#options.onDied(why, this.#lastLines, againMs);
    if (againMs !== null) this.#timer = setTimeout(() => void this.#again(), againMs);
  }

  async #again(): Promise<void> {
    try {
      const ready = await this.#launch();
      if (this.#stopping) return;
      this.#watch();
      this.#options.onBack(ready);
    } catch (failure) {
      if (this.#stopping) return;
      this.#died(failure instanceof ChildNotReady ? failure.message : "cannot be started");
    }
  }
}

function lines(stream: Readable, take: (line: string) => void): void {
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on("line", take);
}

function readyOf(line: string): ReadyLine | null {
  try {
    const found: unknown = JSON.parse(line);
    const isReady = typeof found === "object" && found !== null && "ready" in found && found.ready === true;
    return isReady ? (found as ReadyLine) : null;
  } catch {
    return null;
  }
}

/** The cache of compiled code of this process: given from outside it serves the first file too, which is read before any code runs. */
function compiled(): { NODE_COMPILE_CACHE?: string } {
  const own = getCompileCacheDir();
  // Node keeps a folder for each of its versions in the one that is named.
  return own === undefined ? {} : { NODE_COMPILE_CACHE: dirname(own) };
}
