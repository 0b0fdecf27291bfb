import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import type { ConfigValues } from "@rspp/host/config-fields";
import { startService } from "@rspp/host/start";
import { createSystemClock } from "@rspp/host/system-clock";
import { replayFields } from "@rspp/replay/config";
import { replayDefinition } from "@rspp/replay/definition";
import { silentLog } from "@rspp/rpc/log";
import { startExporter } from "@rspp/runtime/export/exporter";
import { expect, test } from "vitest";
import { recordedSession, tenantId } from "./replay-rig.ts";

test("F-154 beside the runtime in one process timelines go without a socket; the service stops in order", async () => {
  const data = mkdtempSync(join(tmpdir(), "rspp-direct-"));
  const fallbacks = Object.entries(replayFields).map(([key, { fallback }]) => [key, fallback]);
  const own = { data, port: 0, log_level: "silent" };
  const values = { ...Object.fromEntries(fallbacks), ...own } as ConfigValues<typeof replayFields>;
  const running = await startService(replayDefinition, values);
  try {
    const connection = running.connection();
    const { spool, store, sessionId } = await recordedSession("L1");
    const clock = createSystemClock();
    const exporter = startExporter({ spool, store, connection, clock, log: silentLog, instanceId: "i", build: "b" });
    await exporter.idle();
    const session = { tenantId, sessionId };
    expect(await connection.client(TimelineService).verifyTimeline({ session })).toMatchObject({
      chainIntact: true,
      complete: true,
    });
    await exporter.stop();
    expect(exporter.stats()).toMatchObject({ inFlight: 0, lagMs: 0, reconnects: 0 });
  } finally {
    expect(await running.stop()).toBe(true);
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  }
}, 60_000);
