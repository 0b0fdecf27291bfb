/**
 * The registry on an embedded database, with pipelines, a rollout, a tenant's limits and live sessions, for `r-routes.ts`.
 * Says `{"url":…}` when it listens, then a line of figures since the last one for every line on its standard input.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { InstanceService, RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { resolveConfig } from "@rspp/host/config";
import { startService } from "@rspp/host/start";
import { registryDefinition } from "@rspp/registry/definition";
import { connectRpc } from "@rspp/rpc/clients";
import { openDatabase } from "@rspp/store/database";
import { runSql } from "@rspp/store/testkit/run-sql";
import { waitedUs } from "./bench.ts";
import type { RoutesServerFigures } from "./r-routes.ts";

const RUNTIMES = 20;
/** Of `/proc`, 100 a second on every Linux. */
const usPerTick = 10_000;
const tenantId = "acme";
const live = Number(process.argv[2] ?? 0);
const folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
const db = await openDatabase({ dataDir: join(folder, "db") });
const argv = ["--port", "0", "--data", join(folder, "registry")];
const config = resolveConfig(registryDefinition.fields, { service: "registry", argv, env: {} });
if (!config.ok || "help" in config.value) throw new Error("the configuration does not hold");
const running = await startService(registryDefinition, config.value.values, {
  env: {},
  logTo: () => undefined,
  database: db,
});
const rpc = connectRpc({ baseUrl: running.ready.url, domain: "bench", attemptsMax: 1 });
await prepare();
const reporting = new AbortController();
const reported = Promise.all(Array.from({ length: RUNTIMES }, (_, n) => report(`runtime-${n}`)));
process.stdout.write(`${JSON.stringify({ url: running.ready.url })}\n`);

let last = counters();
for await (const _line of createInterface({ input: process.stdin })) {
  const next = counters();
  const [row] = await runSql(db, "SELECT count(*)::integer AS live FROM rspp.sessions WHERE state <> 4");
  const figures: RoutesServerFigures = {
    seconds: (next.ms - last.ms) / 1_000,
    cpuUs: next.cpuUs - last.cpuUs,
    databaseUs: next.databaseUs - last.databaseUs,
    waitedUs: next.waitedUs - last.waitedUs,
    live: Number(row?.live),
  };
  last = next;
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
reporting.abort();
await reported;
await running.stop(1_000);
await db.close();
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

async function prepare(): Promise<void> {
  const spec = readFileSync(new URL("../../pipelines/specs/echo.yaml", import.meta.url), "utf8");
  const registry = rpc.client(RegistryService);
  const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);
  for (const note of ["one", "two"]) {
    const source = bytes(spec.replace(/^description: .*$/m, `description: ${note}`));
    await registry.publishPipeline({ tenantId, source });
  }
  const artifacts = rpc.client(ArtifactService);
  const documents = [
    "schema: rspp/rollout/v1\nrollout: echo\nstable: 1\ncanary: {version: 2, percent: 10}\nsticky_by: variable caller\n",
    "schema: rspp/tenant-config/v1\nsessions: {concurrent_max: 1000000, starts_per_minute: 1000000}\n",
  ];
  for (const document of documents) await artifacts.publishArtifact({ tenantId, source: bytes(document) });
  await runSql(
    db,
    `INSERT INTO rspp.sessions (tenant_id, session_id, request_key, request_digest, pipeline_name, pipeline_version,
       pipeline_digest, transport, instance_id, endpoint_url, region, token_id, routed_wall_ms, route_expires_wall_ms, state,
       as_of_wall_ms)
     SELECT 'acme', 'live-' || n, 'live-' || n, '', 'echo', 1, '', 'websocket', 'runtime-' || n % ${RUNTIMES}, '', '', '',
       1, 1, 2, 1 FROM generate_series(1, ${live}) n`,
  );
}

/** As a runtime that lives: a report a second. */
async function report(instanceId: string): Promise<void> {
  const status = {
    instanceId,
    role: "runtime",
    address: `http://${instanceId}`,
    capacitySessions: 10_000,
    ready: true,
    endpoints: [{ transport: "websocket", url: `ws://${instanceId}` }],
  };
  const { signal } = reporting;
  const reports = async function* () {
    while (!signal.aborted) {
      yield { status };
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        const end = (): void => {
          clearTimeout(timer);
          resolve(null);
        };
        signal.addEventListener("abort", end, { once: true });
      });
    }
  };
  try {
    for await (const _told of rpc.client(InstanceService).reportInstance(reports())) if (signal.aborted) return;
  } catch (failure) {
    if (!signal.aborted) throw failure;
  }
}

function counters() {
  const { user, system } = process.cpuUsage();
  return { ms: performance.now(), cpuUs: user + system, databaseUs: databaseUs(), waitedUs: waitedUs() };
}

/** CPU of the database's processes that live; connections stay open. 0 where the system does not tell. */
function databaseUs(): number {
  const parent = db.server?.pid() ?? 0;
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      if (Number(pid) === parent || Number(fields[1]) === parent) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It ended meanwhile.
    }
  }
  return ticks * usPerTick;
}
