/**
 * The replay service on an embedded database and files, for `r-export.ts`. Says `{"port":…}` when it listens, then a line
 * of figures since the last one for every line on its standard input. Syncs are counted where they are asked for; those of
 * the database's log by its own statistics.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createReplayService } from "@rspp/replay/service";
import { silentLog } from "@rspp/rpc/log";
import { startRpcServer } from "@rspp/rpc/server";
import { openDatabase } from "@rspp/store/database";
import { openFileObjectStore } from "@rspp/store/file-object-store";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import { waitedUs } from "./bench.ts";
import type { ExportServerFigures } from "./r-export.ts";

const folder = mkdtempSync(join(tmpdir(), "rspp-bench-"));
const db = await openDatabase({ dataDir: join(folder, "db") });
const files = await openFileObjectStore(join(folder, "objects"));
let objects = 0;
let syncs = 0;
await countSyncs();

const service = createReplayService({
  objects: {
    ...files,
    put: (...of) => {
      objects += 1;
      return files.put(...of);
    },
  },
  index: pgTimelineIndex(db),
  log: silentLog,
  after: (ms, fire) => void setTimeout(fire, ms),
  wallMs: () => Date.now(),
});
const server = await startRpcServer({ domain: "replay", routes: service.routes, host: "127.0.0.1", port: 0 });
process.stdout.write(`${JSON.stringify({ port: server.port })}\n`);

let last = await counters();
for await (const _line of createInterface({ input: process.stdin })) {
  const next = await counters();
  const seconds = (next.ms - last.ms) / 1_000;
  const figures: ExportServerFigures = {
    seconds,
    objects: next.objects - last.objects,
    syncs: next.syncs - last.syncs,
    logSyncs: next.logSyncs - last.logSyncs,
    cpuUs: next.cpuUs - last.cpuUs,
    waitedUs: next.waitedUs - last.waitedUs,
  };
  last = next;
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
await server.stop(1_000);
await service.idle();
await db.close();
rmSync(folder, { recursive: true, force: true, maxRetries: 5 });

async function counters() {
  const query = "SELECT coalesce(sum(fsyncs), 0)::text AS n FROM pg_stat_io WHERE object = 'wal'";
  const { rows } = await db.transaction((tx) => tx.execute<{ n: string }>(query));
  const { user, system } = process.cpuUsage();
  const cpuUs = user + system;
  return { ms: performance.now(), objects, syncs, logSyncs: Number(rows[0]?.n), cpuUs, waitedUs: waitedUs() };
}

/** Every sync of a file or folder that this process asks for. */
async function countSyncs(): Promise<void> {
  const handle = await open(folder, "r");
  const kind = Object.getPrototypeOf(handle) as { sync(): Promise<void> };
  const sync = kind.sync;
  kind.sync = function (this: typeof handle) {
    syncs += 1;
    return sync.call(this);
  };
  await handle.close();
}
