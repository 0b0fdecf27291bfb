/** Every service of the platform in this process, at log level debug, with one call on the line; and all contracts. */
import { readdirSync } from "node:fs";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { AccessService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { StateService } from "@rspp/gen/rspp/state/v1/state_service_pb";
import type { RunningService } from "@rspp/host/start";
import { leaseDefinition } from "@rspp/lease/definition";
import { gatewayDefinition } from "@rspp/provider-gateway/definition";
import { registryDefinition } from "@rspp/registry/definition";
import { replayDefinition } from "@rspp/replay/definition";
import { connectRpc } from "@rspp/rpc/clients";
import { reflectionContracts } from "@rspp/rpc/well-known";
import { testDatabase } from "@rspp/store/testkit/test-database";
import { createWebSocketDefinition } from "@rspp/transport-websocket/definition";
import { sql } from "drizzle-orm";
import { framed, RawPort } from "./bad-input-raw.ts";
import {
  assistant,
  type Call,
  call,
  connectionTo,
  runtimeOf,
  start,
  tenantId,
  ticketOf,
  until,
} from "./runtime-service-rig.ts";

const unimplemented = 12;

/** A method where it is served. */
export interface Served {
  readonly method: DescMethod;
  readonly path: string;
  readonly port: RawPort;
  /** Whether it is the grpc-js port, for links and invocations. */
  readonly stream: boolean;
}

export interface BadInputRig {
  readonly running: readonly RunningService[];
  readonly served: readonly Served[];
  readonly contracts: readonly DescService[];
  readonly ports: readonly RawPort[];
  readonly call: Call;
  /** Lines of all services. */
  readonly log: string[];
  readonly dataDir: string;
  /** Every row of every table, without what changes by itself as time goes by. */
  dump(): Promise<Record<string, string[]>>;
  close(): Promise<void>;
}

/** Services of every generated contract. */
export async function contractServices(): Promise<DescService[]> {
  const dir = new URL("../../gen/rspp/", import.meta.url);
  const files = readdirSync(dir, { recursive: true }).map(String);
  const found: DescService[] = [];
  for (const file of files.filter((name) => name.endsWith("_pb.js")).sort()) {
    const all: Record<string, unknown> = await import(new URL(file, dir).href);
    for (const one of Object.values(all)) {
      if (typeof one === "object" && one !== null && "kind" in one && one.kind === "service")
        found.push(one as DescService);
    }
  }
  return found;
}

export async function badInputRig(): Promise<BadInputRig> {
  const log: string[] = [];
  const database = await testDatabase();
  const data = ["--data", database.dataDir, "--log-level", "debug"];
  const [registry, lease, replay] = await Promise.all([
    start(registryDefinition, data, database.db, log),
    start(leaseDefinition, data, database.db, log),
    start(replayDefinition, data, database.db, log),
  ]);
  const peers = ["--registry", registry.ready.url, "--log-level", "debug"];
  const [gateway, adapter, runtime] = await Promise.all([
    start(gatewayDefinition(), peers, undefined, log),
    start(createWebSocketDefinition(), ["--websocket-port", "0", "--lease", lease.ready.url, ...peers], undefined, log),
    runtimeOf({ registry, lease }, ["--replay", replay.ready.url]),
  ]);
  const registryRpc = connectionTo(registry);
  const source = new TextEncoder().encode(assistant("assistant"));
  await registryRpc.client(RegistryService).publishPipeline({ tenantId, source });
  await registryRpc.client(AccessService).createToken({ tenantId, role: Role.VIEWER, subject: "x", ttlMs: 60_000n });
  const ticket = await ticketOf({ registry, lease }, runtime, "assistant");
  const onLine = await call(runtime, ticket);
  const session = { tenantId, sessionId: ticket.sessionId };
  const state = { session, epoch: BigInt(ticket.epoch), idempotencyKey: "k-1" };
  await connectionTo(lease)
    .client(StateService)
    .compareAndSetState({ ...state, put: [{ key: "slots", value: new Uint8Array(9) }] });
  await until(async () => {
    const { status } = await registryRpc.client(RegistryService).getSessionStatus({ session });
    return status?.info?.state === 2;
  }, "the session's first report");
  const running = [registry, lease, replay, gateway, adapter, runtime.running];
  const ports = running
    .flatMap(({ ready }) => [ready.port, ready.stream_port ?? []].flat())
    .map((port) => new RawPort(port));
  const contracts = await contractServices();
  const served = await whereServed(contracts, running, ports);
  return {
    running,
    served,
    contracts,
    ports,
    call: onLine,
    get log() {
      return [...log, ...runtime.log];
    },
    dataDir: database.dataDir,
    dump: () => dump(database.db),
    close: async () => {
      for (const port of ports) port.close();
      onLine.admitted.session.operator("end");
      await adapter.stop(0);
      await runtime.close();
      await gateway.stop(0);
      await Promise.all([registry.stop(0), lease.stop(0), replay.stop(0)]);
      await database.close();
    },
  };
}

/** By what each port lists of itself; a method that a port lists and does not have is not served there. */
async function whereServed(
  contracts: readonly DescService[],
  running: readonly RunningService[],
  ports: readonly RawPort[],
): Promise<Served[]> {
  const served: Served[] = [];
  for (const port of ports) {
    const listed = await servicesAt(port.port);
    const stream = running.some(({ ready }) => ready.stream_port === port.port);
    for (const { typeName, methods } of contracts.filter((service) => listed.includes(service.typeName))) {
      for (const method of methods) {
        const path = `/${typeName}/${method.name}`;
        const { code } = await port.call(path, framed(new Uint8Array([255])), { timeoutMs: 2_000 });
        if (code !== unimplemented) served.push({ method, path, port, stream });
      }
    }
  }
  return served;
}

async function servicesAt(port: number): Promise<string[]> {
  const rpc = connectRpc({ baseUrl: `http://127.0.0.1:${port}`, domain: "reflection", attemptsMax: 1 });
  const contract = reflectionContracts[0];
  if (contract === undefined) throw new Error("no reflection");
  const ask = async function* () {
    yield { messageRequest: { case: "listServices" as const, value: "" } };
  };
  for await (const { messageResponse } of rpc.client(contract.service).serverReflectionInfo(ask())) {
    if (messageResponse.case === "listServicesResponse") return messageResponse.value.service.map(({ name }) => name);
  }
  throw new Error("nothing listed");
}

/** Heartbeats and renewals go on by themselves. */
const moving = /_wall_ms$|^change_seq$|^sessions$|^signature$|^term_ms$|^turns$|^open_turn_number$|^last_sequence$/;
/** Counters of the lease store as a whole. */
const counters = "lease_store";

async function dump(db: Awaited<ReturnType<typeof testDatabase>>["db"]): Promise<Record<string, string[]>> {
  const tables = await db.transaction((tx) =>
    tx.execute(sql`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'rspp' ORDER BY 1`),
  );
  const out: Record<string, string[]> = {};
  for (const { name } of tables.rows as { name: string }[]) {
    if (name === counters) continue;
    const { rows } = await db.transaction((tx) => tx.execute(sql`SELECT * FROM rspp.${sql.identifier(name)}`));
    // The call on the line is recorded meanwhile.
    const still = rows.filter(
      (row) => !name.startsWith("timeline") || ![undefined, tenantId].includes(row.tenant_id as string),
    );
    out[name] = still
      .map((row) => JSON.stringify(Object.entries(row).filter(([column]) => !moving.test(column))))
      .sort();
  }
  return out;
}
