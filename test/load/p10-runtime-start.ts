/** P10, the runtime alone: from the spawn of its process to its ready line, registry, lease and gateway being there (`docs/benchmarks.md`). */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Bench, type BenchResult, row } from "./bench.ts";

const RUNS = 11;
/** The first fills the cache of compiled code. */
const WARM_RUNS = 2;
const READY_MS = 60_000;

const root = fileURLToPath(new URL("../..", import.meta.url));

interface Ready {
  readonly url: string;
  readonly stream_port?: number;
}

interface Started {
  readonly child: ChildProcess;
  readonly ready: Ready;
  readonly wallMs: number;
  /** CPU of all threads until the ready line; not a number where the system does not tell. */
  readonly cpuMs: number;
  /** The main thread was ready and had no core. */
  readonly waitedMs: number;
}

function start(args: readonly string[]): Promise<Started> {
  const fromMs = performance.now();
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("RSPP_") && name !== "DATABASE_URL");
  // As `rspp up` starts its processes.
  const env = { NODE_COMPILE_CACHE: join(tmpdir(), "node-compile-cache"), ...Object.fromEntries(clean) };
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (data: Buffer) => {
    errors = (errors + data.toString()).slice(-2_000);
  });
  return new Promise((resolve, reject) => {
    const fail = (): void => {
      child.kill("SIGKILL");
      reject(new Error(`${args[0]} was not ready: ${errors}`));
    };
    const late = setTimeout(fail, READY_MS);
    child.once("exit", fail);
    createInterface({ input: child.stdout }).once("line", (line) => {
      const wallMs = performance.now() - fromMs;
      const used = costOf(child.pid ?? 0);
      clearTimeout(late);
      child.off("exit", fail);
      resolve({ child, ready: JSON.parse(line) as Ready, wallMs, ...used });
    });
  });
}

function costOf(pid: number): { cpuMs: number; waitedMs: number } {
  try {
    // Fields 14 and 15 of all: hundredths of a second in user and system mode.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    const [, waitedNs = "0"] = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ");
    return { cpuMs: (Number(fields[11]) + Number(fields[12])) * 10, waitedMs: Number(waitedNs) / 1e6 };
  } catch {
    return { cpuMs: Number.NaN, waitedMs: Number.NaN };
  }
}

async function stop({ child }: Started): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
}

const service = (name: string, ...args: string[]): string[] => [join(root, `services/${name}/src/main.ts`), ...args];

export const p10: Bench = {
  name: "P10",
  title: "A runtime process, from its spawn to its ready line",
  async run(): Promise<BenchResult> {
    const folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
    const peers: Started[] = [];
    const runs: Started[] = [];
    const empty: number[] = [];
    try {
      const own = (name: string): string[] => ["--data", join(folder, name), "--port", "0"];
      peers.push(await start(service("registry", ...own("registry"))));
      peers.push(await start(service("lease", ...own("lease"))));
      peers.push(await start(service("provider-gateway", "--port", "0", "--stream-port", "0")));
      const [registry, lease, gateway] = peers.map(({ ready }) => ready);
      const where = ["--registry", registry?.url ?? "", "--lease", lease?.url ?? "", "--gateway", gateway?.url ?? ""];
      const streams = ["--gateway-streams", `127.0.0.1:${gateway?.stream_port}`, "--stream-port", "0"];
      for (let n = 0; n < RUNS + WARM_RUNS; n++) {
        const bare = await start(["-e", "console.log('{}'); setTimeout(() => {}, 60_000)"]);
        await stop(bare);
        const run = await start(service("runtime", ...own(`runtime-${n}`), ...where, ...streams));
        await stop(run);
        if (n < WARM_RUNS) continue;
        empty.push(bare.wallMs);
        runs.push(run);
      }
    } finally {
      for (const peer of peers.reverse()) await stop(peer);
      rmSync(folder, { recursive: true, force: true });
    }
    const of = (pick: (run: Started) => number): number[] => runs.map(pick);
    return {
      name: "P10",
      title: p10.title,
      topology:
        "registry, lease and gateway run already, each a process; `node services/runtime/src/main.ts` with its neural detector, on a new data folder each time; compiled code is cached from earlier starts",
      compared: "a process of Node that says one line; LiveKit Agents worker 0.6 to 0.8 s",
      rows: [
        row(
          "runtime ready",
          "ms",
          of(({ wallMs }) => wallMs),
          500,
        ),
        row(
          "CPU until then, all threads",
          "ms",
          of(({ cpuMs }) => cpuMs),
        ),
        row(
          "the main thread waited for a core",
          "ms",
          of(({ waitedMs }) => waitedMs),
        ),
        row("an empty process", "ms", empty),
      ],
      notes: [`${RUNS} starts after ${WARM_RUNS}, one at a time`],
    };
  },
};
