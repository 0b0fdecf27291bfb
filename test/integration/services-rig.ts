/** Services as processes of their own, each on a data directory and a free port, as an operator starts them. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type ErrorDetail, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { connectRpc, type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";

export type ServiceName = "registry" | "lease" | "transport-livekit";
const root = join(import.meta.dirname, "../..");
const readyWithinMs = 50_000;

export interface ServiceStart {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Spawned {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  out(): string;
  errors(): string;
}

export interface RunningService extends Spawned {
  readonly url: string;
  readonly port: number;
  readonly rpc: RpcConnection;
}

export function spawnService(service: ServiceName, { args = [], env = {} }: ServiceStart): Spawned {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("RSPP_") && name !== "DATABASE_URL"),
  );
  const child = spawn(process.execPath, [join(root, `services/${service}/src/main.ts`), ...args], {
    env: { ...clean, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let errors = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk));
  child.stderr.on("data", (chunk: Buffer) => (errors += chunk));
  const ended = new Promise<Ended>((resolve) => child.once("close", (status, signal) => resolve({ status, signal })));
  return { child, ended, out: () => out, errors: () => errors };
}

/** Resolves with its ready line; rejects with what it said when it ends before, or takes too long. */
export async function startService(service: ServiceName, start: ServiceStart): Promise<RunningService> {
  const spawned = spawnService(service, { ...start, args: ["--port", "0", ...(start.args ?? [])] });
  const ready = await new Promise<{ url: string; port: number }>((resolve, reject) => {
    const fail = (why: string): void => {
      spawned.child.kill("SIGKILL");
      reject(new Error(`${service} ${why}: ${spawned.errors()}`));
    };
    const timer = setTimeout(() => fail("was not ready in time"), readyWithinMs);
    const look = (): void => {
      const line = /^\{"ready":true.*\}$/m.exec(spawned.out())?.[0];
      if (line === undefined) return;
      clearTimeout(timer);
      resolve(JSON.parse(line));
    };
    spawned.child.stdout?.on("data", look);
    spawned.child.once("close", () => {
      clearTimeout(timer);
      fail("ended before it was ready");
    });
  });
  // Refusals that may pass are looked at, not waited out.
  const rpc = connectRpc({ baseUrl: ready.url, domain: "no-detail", attemptsMax: 1, messageBytesMax: 16_777_216 });
  return { ...spawned, ...ready, rpc };
}

export async function stopService({ child, ended }: Spawned, signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
  child.kill(signal);
  return ended;
}

export function dataDir(): { readonly dir: string; remove(): void } {
  const dir = mkdtempSync(join(tmpdir(), "rspp-service-"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }) };
}

const run = promisify(execFile);

/** `buf curl` as people call it. */
export async function bufCurl(url: string, ...args: readonly string[]): Promise<string> {
  const base = ["--no-install", "buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge"];
  const { stdout } = await run("npx", [...base, ...args, url], { cwd: root });
  return stdout;
}

/** The detail a call was refused with, its reason by name. */
export async function refusal(call: Promise<unknown>): Promise<ErrorDetail & { readonly name: string }> {
  const failure = await call.then(
    (answer) => new Error(`it was not refused: ${String(answer)}`),
    (thrown: unknown) => thrown,
  );
  const { detail } = rpcErrorOf(failure, "no-detail");
  if (detail.domain === "no-detail") throw failure;
  return { ...detail, name: ErrorReason[detail.reason] ?? "" };
}
