/** A real LiveKit server, built from its Go module and kept in `.cache`, on loopback and free ports. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cache, once, root, run } from "../polyglot/tools.ts";

const dir = join(root, "test", "livekit", "server");
const binary = join(cache, "bin", "livekit-server");
const readyMs = 20_000;

export const LIVEKIT_KEY = "devkey";
export const LIVEKIT_SECRET = "a-secret-of-the-tests-that-is-long-enough";

let built: Promise<void> | undefined;

/** About a minute of two cores when nothing is cached. */
async function build(): Promise<void> {
  built ??= once("livekit-server", [join(dir, "go.sum")], async () => {
    const env = { ...process.env, GOFLAGS: "-buildvcs=false" };
    const args = ["build", "-ldflags=-s -w", "-o", binary, "github.com/livekit/livekit-server/cmd/server"];
    await run("go", args, { cwd: dir, env, maxBuffer: 16 << 20 });
  });
  await built;
}

export interface LiveKitServer {
  /** For clients, `ws://…`. */
  readonly url: string;
  /** For its server API, `http://…`. */
  readonly apiUrl: string;
  /** What it wrote so far. */
  text(): string;
  /** Ends it at once; `start` brings it back on the same ports, with its rooms forgotten. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Ready to take participants; ends with an error that shows what the server said. */
export async function startLiveKit(): Promise<LiveKitServer> {
  await build();
  const [port, tcpPort, udpPort] = await Promise.all([freePort(), freePort(), freePort()]);
  const home = mkdtempSync(join(tmpdir(), "rspp-livekit-"));
  const config = join(home, "livekit.json");
  writeFileSync(
    config,
    JSON.stringify({
      port,
      bind_addresses: ["127.0.0.1"],
      rtc: {
        tcp_port: tcpPort,
        udp_port: udpPort,
        use_external_ip: false,
        node_ip: "127.0.0.1",
        enable_loopback_candidate: true,
      },
      keys: { [LIVEKIT_KEY]: LIVEKIT_SECRET },
      logging: { level: "warn" },
    }),
  );
  const server = new Server(port, config, home);
  await server.start();
  return server;
}

class Server implements LiveKitServer {
  readonly url: string;
  readonly apiUrl: string;
  readonly #config: string;
  readonly #home: string;
  #child: ChildProcess | null = null;
  #text = "";

  constructor(port: number, config: string, home: string) {
    this.url = `ws://127.0.0.1:${port}`;
    this.apiUrl = `http://127.0.0.1:${port}`;
    this.#config = config;
    this.#home = home;
  }

  text(): string {
    return this.#text;
  }

  async start(): Promise<void> {
    const child = spawn(binary, ["--config", this.#config], { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#text = (this.#text + text).slice(-100_000);
      });
    }
    const endMs = performance.now() + readyMs;
    while (!(await this.#answers())) {
      if (child.exitCode !== null || performance.now() > endMs)
        throw new Error(`LiveKit did not start:\n${this.#text}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#home, { recursive: true, force: true });
  }

  #answers(): Promise<boolean> {
    return fetch(this.apiUrl, { signal: AbortSignal.timeout(1_000) }).then(
      (response) => response.ok,
      () => false,
    );
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject).listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() =>
        address !== null && typeof address === "object" ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
