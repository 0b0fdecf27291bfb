/** R-routes: session routes a minute of one registry on one core, its PostgreSQL beside it on the same core. */
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { connectRpc } from "@rspp/rpc/clients";
import { type Bench, type BenchResult, quantileRow, row } from "./bench.ts";
import { Child, PINNED } from "./children.ts";

const ROUTES = 4_000;
const WARM_UP = 400;
const AT_ONCE = 16;
const LIVE_SESSIONS = 2_000;
/** As many a minute must fit one core: at most 12 ms of its time for each. */
const WANTED = 5_000;
const WANTED_MS = 60_000;

/** Of `routes-server.ts`, since it was last asked. */
export interface RoutesServerFigures {
  seconds: number;
  /** Of the registry's process, without the database's. */
  cpuUs: number;
  databaseUs: number;
  /** Of the time, for its core. */
  waitedUs: number;
  /** Held when it was asked. */
  live: number;
}

async function run(): Promise<BenchResult> {
  const server = new Child("./routes-server.ts", [String(LIVE_SESSIONS)], 0);
  const { url } = await server.next<{ url: string }>(120_000);
  const { client } = connectRpc({ baseUrl: url, domain: "bench", attemptsMax: 1 });
  const registry = client(RegistryService);
  let asked = 0;
  const latenciesMs: number[] = [];
  const ask = async (count: number): Promise<void> => {
    const one = async (): Promise<void> => {
      while (asked < count) {
        const key = `route-${asked++}`;
        const before = performance.now();
        await registry.createRoute({
          tenantId: "acme",
          pipelineName: "echo",
          idempotencyKey: key,
          variables: { caller: key },
        });
        latenciesMs.push(performance.now() - before);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  };
  await ask(WARM_UP);
  latenciesMs.length = 0;
  await server.ask<RoutesServerFigures>();
  const before = performance.now();
  await ask(WARM_UP + ROUTES);
  const tookMs = performance.now() - before;
  const figures = await server.ask<RoutesServerFigures>();
  await server.stop();
  // Of the core's time: other processes on the machine do not make it longer, as they do with the time by the clock.
  const totalUs = figures.cpuUs + figures.databaseUs;
  return {
    name: "R-routes",
    title: "Session routes of one registry on one core",
    topology: `registry and its PostgreSQL on one core, callers on another (${PINNED}); ${AT_ONCE} requests at once; 20 runtimes; a rollout by a variable, a quota and a rate in force`,
    compared: `the bar: ${WANTED} routes a minute`,
    rows: [
      row("routes a minute", "/min", [(ROUTES / tookMs) * 60_000]),
      row("CPU of registry and database", "µs/route", [totalUs / ROUTES], (WANTED_MS * 1_000) / WANTED),
      row("  of it the registry's process", "µs/route", [figures.cpuUs / ROUTES]),
      row("routes a minute that fill one core", "/min", [(60e6 * ROUTES) / totalUs]),
      quantileRow("CreateRoute, p50", "ms", latenciesMs, 0.5),
      quantileRow("CreateRoute, p99", "ms", latenciesMs, 0.99),
    ],
    notes: [
      `${figures.live} sessions held places at the end, ${LIVE_SESSIONS} of them from the beginning`,
      `the registry's process waited ${((figures.waitedUs / figures.seconds / 1e6) * 100).toFixed(0)} % of the time for its core, the database's share included`,
    ],
  };
}

export const rRoutes: Bench = { name: "R-routes", title: "Session routes of one registry on one core", run };
