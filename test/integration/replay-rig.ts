/** A replay service on a real database and real files, which may stop and come back, and runtimes that export to it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ErrorDetail, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { TimelineRecord } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import { createReplayService } from "@rspp/replay/service";
import { AppendCall, appendOf, open } from "@rspp/replay/testing/records";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { startRpcServer } from "@rspp/rpc/server";
import { startExporter } from "@rspp/runtime/export/exporter";
import type { Exporter } from "@rspp/runtime/export/types";
import type { MemoryStore } from "@rspp/runtime/spool/memory-store";
import type { Spool } from "@rspp/runtime/spool/spool";
import type { SpoolStore } from "@rspp/runtime/spool/store";
import { type Bench, bench } from "@rspp/runtime/testing/bench";
import { openFileObjectStore } from "@rspp/store/file-object-store";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import { testDatabase } from "@rspp/store/testkit/test-database";

export const tenantId = "tenant-a";

export async function createReplayRig() {
  const at = await testDatabase();
  const dir = mkdtempSync(join(tmpdir(), "rspp-objects-"));
  let port = 0;
  let ending = async (): Promise<void> => undefined;
  const start = async (): Promise<void> => {
    const service = createReplayService({
      objects: await openFileObjectStore(dir),
      index: pgTimelineIndex(at.db),
      log: silentLog,
      after: (ms, fire) => void setTimeout(fire, ms),
      wallMs: () => Date.now(),
    });
    const server = await startRpcServer({ domain: "replay", routes: service.routes, host: "127.0.0.1", port });
    port = server.port;
    ending = async () => {
      await server.stop(200);
      await service.idle();
    };
  };
  await start();
  const baseUrl = `http://127.0.0.1:${port}`;
  const rpc = connectRpc({ baseUrl, domain: "none", attemptsMax: 1, messageBytesMax: 16_777_216 });
  const timelines = rpc.client(TimelineService);
  const call = (): AppendCall => new AppendCall((requests) => timelines.appendTimeline(requests));
  return {
    rpc,
    timelines,
    dir,
    call,
    exporter: (spool: Spool, store: SpoolStore): Exporter => {
      const who = { instanceId: "runtime-1", build: "test" };
      return startExporter({ spool, store, connection: rpc, clock: createSystemClock(), log: silentLog, ...who });
    },
    append: async (records: TimelineRecord[]): Promise<void> => {
      const stream = call().push(open);
      for (let from = 0; from < records.length; from += 200) stream.push(appendOf(records.slice(from, from + 200)));
      await stream.end().rest();
    },
    read: async (ask: Parameters<typeof timelines.readTimeline>[0]): Promise<TimelineRecord[]> => {
      const records: TimelineRecord[] = [];
      for await (const part of timelines.readTimeline(ask)) records.push(...part.records);
      return records;
    },
    start,
    stop: () => ending(),
    close: async (): Promise<void> => {
      await ending();
      await at.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export type Rig = Awaited<ReturnType<typeof createReplayRig>>;

/** What a call was refused with, its reason by name. */
export async function refusal(call: Promise<unknown>): Promise<ErrorDetail & { name: string }> {
  const failure = await call.then(
    (answer) => new Error(`it was not refused: ${String(answer)}`),
    (thrown: unknown) => thrown,
  );
  const { detail } = rpcErrorOf(failure, "none");
  return { ...detail, name: ErrorReason[detail.reason] ?? "" };
}

export interface Recorded {
  bench: Bench;
  spool: Spool;
  store: MemoryStore;
  sessionId: string;
}

let sessions = 0;

/** A call: a question and its answer, and another answer that the caller speaks over; recorded in memory. */
export async function recordedSession(
  level: "L0" | "L1" | "L2",
  options: Parameters<typeof bench>[0] = {},
): Promise<Recorded> {
  const b = bench(options);
  const sessionId = `session-${++sessions}`;
  const recording = { policyId: "p", ceiling: level, evidenceQuotaBytes: 262_144 };
  const { line, session } = b.open({ sessionId, recording });
  await b.talk(line, 20, 60);
  await b.pass(3_000);
  await b.talk(line, 20, 40);
  await b.talk(line, 40, 60);
  await b.pass(3_000);
  session.operator("end");
  await b.pass(2_000);
  await b.spool.sync();
  return { bench: b, spool: b.spool, store: b.store, sessionId };
}
