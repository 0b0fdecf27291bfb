/** A fleet of processes, as an operator runs it: one database, registry, lease, runtimes behind lines that can be cut, an adapter. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket, connect as tcpConnect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { InstanceService, RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { connectRpc, type RpcConnection } from "@rspp/rpc/clients";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { Caller } from "./fleet-caller.ts";
import { SPEC } from "./fleet-spec.ts";

const root = join(import.meta.dirname, "../..");
const tenantId = "local";
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
class Line {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  port = 0;
  target = 0;
  #cut = false;

  constructor() {
    this.#server = createServer((near) => {
      const far = tcpConnect(this.target, "127.0.0.1");
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

  mend(): void {
    this.#cut = false;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

export interface RuntimeOfFleet {
  readonly service: Service;
  readonly line: Line;
  instance(): string;
}

export class Fleet {
  readonly #folder = mkdtempSync(join(tmpdir(), "rspp-fleet-"));
  readonly callers: Caller[] = [];
  readonly runtimes: RuntimeOfFleet[] = [];
  database!: TestDatabase;
  registry!: Service;
  lease!: Service;
  adapter!: Service;
  #made = 0;

  async start(runtimes: number): Promise<void> {
    this.database = await testDatabase();
    const env = { DATABASE_URL: this.database.db.url };
    const data = ["--data", join(this.#folder, "platform"), "--log-level", "warn"];
    this.registry = new Service("services/registry/src/main.ts", () => data, env);
    this.lease = new Service("services/lease/src/main.ts", () => data, env);
    await Promise.all([this.registry.start(), this.lease.start()]);
    await this.registry
      .rpc()
      .client(RegistryService)
      .publishPipeline({ tenantId, source: new TextEncoder().encode(SPEC) });
    this.adapter = new Service("services/transport-websocket/src/main.ts", () => [
      ...this.#peers(),
      ...["--websocket-port", websocketPort(this.adapter), "--log-level", "warn", "--stop-grace-ms", "3000"],
    ]);
    await Promise.all([this.adapter.start(), ...Array.from({ length: runtimes }, () => this.addRuntime())]);
    await until(async () => (await this.#ready()) >= runtimes, "the registry knows the fleet");
  }

  async addRuntime(): Promise<RuntimeOfFleet> {
    this.#made += 1;
    const name = `runtime-${this.#made}`;
    const line = new Line();
    await line.open();
    const service = new Service("cli/src/up/runtime-main.ts", () => [
      ...this.#peers(),
      ...[
        "--data",
        join(this.#folder, name),
        "--instance-id",
        name,
        "--silero",
        "off",
        "--gateway",
        "",
        "--replay",
        "",
      ],
      ...["--advertise-address", `127.0.0.1:${line.port}`, "--log-level", "info", "--stop-grace-ms", "20000"],
      ...(service.ready === null ? ["--stream-port", "0"] : []),
    ]);
    const ready = await service.start();
    line.target = ready.stream_port ?? 0;
    const runtime: RuntimeOfFleet = { service, line, instance: () => name };
    this.runtimes.push(runtime);
    return runtime;
  }

  runtime(instance: string): RuntimeOfFleet {
    const found = this.runtimes.find((one) => one.instance() === instance);
    if (found === undefined) throw new Error(`no runtime ${instance}`);
    return found;
  }

  async call(): Promise<Caller> {
    const variables = { sim_transcripts: Array.from({ length: 40 }, (_, n) => `question ${n + 1}`) };
    const ask = { tenantId, pipelineName: "fleet", variables, idempotencyKey: `${Date.now()}-${this.callers.length}` };
    const { route } = await this.registry.rpc().client(RegistryService).createRoute(ask);
    const caller = await Caller.dial(route?.endpoint?.url ?? "", route?.token ?? "");
    this.callers.push(caller);
    return caller;
  }

  /** Which runtime holds each session, by the lease service. */
  async holders(): Promise<Map<string, Caller[]>> {
    const lease = this.lease.rpc().client(LeaseService);
    const by = new Map<string, Caller[]>();
    for (const caller of this.callers) {
      const found = await lease.getLease({ session: { tenantId, sessionId: caller.session } });
      const holder = found.lease?.grant?.holderId ?? "";
      by.set(holder, [...(by.get(holder) ?? []), caller]);
    }
    return by;
  }

  /** What a session would go on from. */
  async state(
    sessionId: string,
  ): Promise<{ lastTurn: number; conversation: { role: string; turn: number; text: string }[] }> {
    const { state } = await this.lease.rpc().client(StateService).getState({ session: { tenantId, sessionId } });
    return JSON.parse(new TextDecoder().decode(state?.entries[0]?.value ?? new Uint8Array()));
  }

  async sessionsAt(runtime: RuntimeOfFleet): Promise<number> {
    return (await runtime.service.rpc().client(SessionService).listSessions({ tenantId })).sessions.length;
  }

  async handOver(runtime: RuntimeOfFleet, sessionId: string, targetInstance = ""): Promise<void> {
    const ask = { session: { tenantId, sessionId }, targetInstance, deadlineMs: 10_000 };
    await runtime.service.rpc().client(SessionService).handOverSession(ask);
  }

  async adapterMetric(name: string): Promise<number> {
    const page = await (await fetch(`${this.adapter.ready?.url}/metrics`)).text();
    return page
      .split("\n")
      .filter((line) => line.startsWith(name))
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  async close(): Promise<void> {
    for (const caller of this.callers) caller.hangUp();
    const services = [this.adapter, ...this.runtimes.map(({ service }) => service), this.lease, this.registry];
    await Promise.all(services.map((service) => service?.stop("SIGKILL")));
    for (const { line } of this.runtimes) line.close();
    await this.database?.close();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async #ready(): Promise<number> {
    const { view } = await this.registry.rpc().client(InstanceService).getRoutingView({});
    const known = (view?.instances ?? []).filter((it) => it.ready);
    return known.some((it) => it.role === "transport-websocket")
      ? known.filter((it) => it.role === "runtime").length
      : 0;
  }

  #peers(): string[] {
    return ["--registry", this.registry.ready?.url ?? "", "--lease", this.lease.ready?.url ?? ""];
  }
}

function websocketPort(adapter: Service | undefined): string {
  return URL.parse(adapter?.ready?.addresses.websocket ?? "")?.port || "0";
}

export async function until(holds: () => boolean | Promise<boolean>, what: string, ms = 40_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
