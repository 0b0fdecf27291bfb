/** A fleet of processes, as an operator runs it: one database, registry, lease, runtimes behind lines that can be cut, an adapter. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { InstanceService, RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { SessionService } from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { Caller } from "./fleet-caller.ts";
import { Line, Service, until } from "./fleet-process.ts";
import { SPEC } from "./fleet-spec.ts";
import { StaleWatch } from "./fleet-stale.ts";

const tenantId = "local";

export interface RuntimeOfFleet {
  readonly service: Service;
  readonly line: Line;
  instance(): string;
}

export class Fleet {
  readonly #folder = mkdtempSync(join(tmpdir(), "rspp-fleet-"));
  readonly callers: Caller[] = [];
  readonly runtimes: RuntimeOfFleet[] = [];
  readonly databaseLine = new Line();
  database!: TestDatabase;
  registry!: Service;
  lease!: Service;
  adapter!: Service;
  gateway!: Service;
  replay!: Service;
  /** Counts what is accepted of an epoch that is over. */
  stale!: StaleWatch;
  #made = 0;

  async start(runtimes: number): Promise<void> {
    this.database = await testDatabase();
    // The embedded server listens on a socket in its folder.
    const [, who = "", folder = "", port = ""] =
      /\/\/(.*)@\/postgres\?host=(.*)&port=(.*)$/.exec(this.database.db.url) ?? [];
    this.databaseLine.target = join(decodeURIComponent(folder), `.s.PGSQL.${port}`);
    await this.databaseLine.open();
    const env = { DATABASE_URL: `postgresql://${who}@127.0.0.1:${this.databaseLine.port}/postgres` };
    const data = ["--data", join(this.#folder, "platform"), "--log-level", "warn"];
    this.registry = new Service("services/registry/src/main.ts", () => data, env);
    this.lease = new Service("services/lease/src/main.ts", () => data, env);
    this.replay = new Service("services/replay/src/main.ts", () => data, env);
    this.gateway = new Service("services/provider-gateway/src/main.ts", () => [
      ...["--registry", this.registry.ready?.url ?? "", "--log-level", "warn", "--stop-grace-ms", "20000"],
      ...(this.gateway.ready === null ? ["--stream-port", "0"] : []),
    ]);
    await Promise.all([this.registry.start(), this.lease.start()]);
    this.stale = await StaleWatch.on(this.database.db.url);
    await this.registry
      .rpc()
      .client(RegistryService)
      .publishPipeline({ tenantId, source: new TextEncoder().encode(SPEC) });
    this.adapter = new Service("services/transport-websocket/src/main.ts", () => [
      ...this.#peers(),
      ...["--websocket-port", websocketPort(this.adapter), "--log-level", "warn", "--stop-grace-ms", "3000"],
    ]);
    await Promise.all([this.gateway.start(), this.replay.start()]);
    await Promise.all([this.adapter.start(), ...Array.from({ length: runtimes }, () => this.addRuntime())]);
    await until(async () => (await this.#ready()) >= runtimes, "the registry knows the fleet");
  }

  async addRuntime(): Promise<RuntimeOfFleet> {
    this.#made += 1;
    const name = `runtime-${this.#made}`;
    const line = new Line();
    await line.open();
    const service = new Service("services/runtime/src/main.ts", () => [
      ...this.#peers(),
      ...[
        "--data",
        join(this.#folder, name),
        "--instance-id",
        name,
        "--silero",
        "off",
        "--gateway",
        this.gateway.ready?.url ?? "",
        "--gateway-streams",
        `127.0.0.1:${this.gateway.ready?.stream_port ?? 0}`,
        "--replay",
        this.replay.ready?.url ?? "",
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

  /** Of its timeline, by epoch and sequence. */
  async records(sessionId: string): Promise<{ epoch: number; wallMs: number; kind: string }[]> {
    const found: { epoch: number; wallMs: number; kind: string }[] = [];
    const timelines = this.replay.rpc().client(TimelineService);
    for await (const { records } of timelines.readTimeline({ session: { tenantId, sessionId } })) {
      for (const { epoch, wallMs, body } of records)
        found.push({ epoch: Number(epoch), wallMs: Number(wallMs), kind: body.case ?? "" });
    }
    return found;
  }

  async sessionsAt(runtime: RuntimeOfFleet): Promise<number> {
    return (await runtime.service.rpc().client(SessionService).listSessions({ tenantId })).sessions.length;
  }

  async handOver(runtime: RuntimeOfFleet, sessionId: string, targetInstance = ""): Promise<void> {
    const ask = { session: { tenantId, sessionId }, targetInstance, deadlineMs: 10_000 };
    await runtime.service.rpc().client(SessionService).handOverSession(ask);
  }

  async metric(service: Service, name: string): Promise<number> {
    const page = await (await fetch(`${service.ready?.url}/metrics`)).text();
    return page
      .split("\n")
      .filter((line) => line.startsWith(name))
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }

  async close(): Promise<void> {
    for (const caller of this.callers) caller.hangUp();
    const services = [this.adapter, ...this.runtimes.map(({ service }) => service), this.gateway, this.replay];
    services.push(this.lease, this.registry);
    await this.stale?.close();
    await Promise.all(services.map((service) => service?.stop("SIGKILL")));
    for (const { line } of this.runtimes) line.close();
    this.databaseLine.close();
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
