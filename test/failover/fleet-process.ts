/** One service of a fleet as a process, and the way to a runtime, which can be cut. */
import { type ChildProcess, spawn } from "node:child_process";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { connectRpc, type RpcConnection } from "@rspp/rpc/clients";

const root = join(import.meta.dirname, "../..");
const readyMs = 60_000;

interface Ready {
  readonly url: string;
  readonly port: number;
  readonly instance: string;
  readonly stream_port?: number;
  readonly addresses: Readonly<Record<string, string>>;
}

/** One service as a process; started again on the port it had. */
export class Service {
  readonly #main: string;
  readonly #args: () => readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  #child: ChildProcess | null = null;
  #said = "";
  #errors = "";
  ready: Ready | null = null;

  constructor(main: string, args: () => readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#main = main;
    this.#args = args;
    this.#env = env;
  }

  async start(): Promise<Ready> {
    const clean = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith("RSPP_") && name !== "DATABASE_URL"),
    );
    const ports =
      this.ready === null
        ? ["--port", "0"]
        : ["--port", String(this.ready.port), ...streamArgs(this.ready.stream_port ?? null)];
    this.#said = "";
    const child = spawn(process.execPath, [join(root, this.#main), ...this.#args(), ...ports], {
      env: { ...clean, ...this.#env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.stdout?.on("data", (chunk: Buffer) => (this.#said += chunk));
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk).slice(-400_000);
    });
    await until(
      () => /^\{"ready":true.*\}$/m.test(this.#said) || child.exitCode !== null,
      `${this.#main} ready`,
      readyMs,
    );
    const line = /^\{"ready":true.*\}$/m.exec(this.#said)?.[0];
    if (line === undefined) throw new Error(`${this.#main} did not start: ${this.#errors.slice(-2_000)}`);
    this.ready = JSON.parse(line) as Ready;
    return this.ready;
  }

  get errors(): string {
    return this.#errors;
  }

  /** How it ended, and its last words. */
  get end(): string {
    return `${this.#child?.exitCode} ${this.#child?.signalCode} ${this.#errors.slice(-2_000)}`;
  }

  get running(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    const child = this.#child;
    if (child === null || !this.running) return child?.exitCode ?? null;
    const gone = new Promise<number | null>((resolve) => child.once("close", (status) => resolve(status)));
    child.kill(signal);
    // One that a test left stopped would never end.
    child.kill("SIGCONT");
    return gone;
  }

  rpc(): RpcConnection {
    return connectRpc({ baseUrl: this.ready?.url ?? "", domain: "test", attemptsMax: 1 });
  }
}

function streamArgs(port: number | null): string[] {
  return port === null ? [] : ["--stream-port", String(port)];
}

/** The way to a runtime's links, which can be cut: nothing passes any more, and nobody is told. */
export class Line {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  port = 0;
  /** A port of this machine, or a socket. */
  target: number | string = 0;
  #cut = false;
  #gone = false;

  constructor() {
    this.#server = createServer((near) => {
      near.on("error", () => near.destroy());
      if (this.#gone) return near.destroy();
      const { target } = this;
      const far = typeof target === "string" ? connect(target) : connect(target, "127.0.0.1");
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (chunk) => {
          if (!this.#cut) to.write(chunk);
        });
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as { port: number }).port;
  }

  cut(): void {
    this.#cut = true;
  }

  /** What is behind it is gone: connections break, new ones are refused. */
  takeAway(): void {
    this.#gone = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  giveBack(): void {
    this.#gone = false;
  }

  mend(): void {
    this.#cut = false;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

export async function until(holds: () => boolean | Promise<boolean>, what: string, ms = 40_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
