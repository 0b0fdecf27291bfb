import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { TimelineService } from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { createSystemClock } from "@rspp/host/system-clock";
import { connectRpc, rpcErrorOf } from "@rspp/rpc/clients";
import { silentLog } from "@rspp/rpc/log";
import { startExporter } from "@rspp/runtime/export/exporter";
import { createMemoryStore } from "@rspp/runtime/spool/memory-store";
import { createSpool, type Spool } from "@rspp/runtime/spool/spool";
import { afterEach, expect, test } from "vitest";

const main = join(import.meta.dirname, "../../services/replay/src/main.ts");
const tenantId = "kill";

interface Service {
  child: ChildProcess;
  port: number;
}

const running = new Set<ChildProcess>();
const folders: string[] = [];
afterEach(() => {
  for (const child of running) child.kill("SIGKILL");
  for (const dir of folders.splice(0)) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
});

function start(data: string, port: number): Promise<Service> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:RSPP_|DATABASE_URL)/.test(name)));
  const child = spawn(process.execPath, [main, "--port", String(port), "--data", data, "--log-level", "error"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.once("close", () => running.delete(child));
  let out = "";
  return new Promise((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => (out += chunk));
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk;
      const ready = /^\{"ready":true.*\}$/m.exec(out)?.[0];
      if (ready !== undefined) resolve({ child, port: (JSON.parse(ready) as { port: number }).port });
    });
    child.once("close", () => reject(new Error(`it ended before it was ready: ${out}`)));
  });
}

async function kill({ child }: Service): Promise<void> {
  const gone = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await gone;
}

function more(spool: Spool, sessionId: string, from: number, count: number): void {
  for (let n = from; n < from + count; n++) {
    const entry = { batch: { index: n, monoNs: n, wallMs: n, inputs: [] }, facts: [], digest: "ab" };
    spool.line({ tenantId, sessionId, epoch: 1 }, "journal", JSON.stringify(entry));
  }
}

test("F-154 kill -9 of the service in mid-append: what was acknowledged is there, the rest is sent again, nothing is doubled", async () => {
  const data = mkdtempSync(join(tmpdir(), "rspp-replay-"));
  folders.push(data);
  let service = await start(data, 0);
  const rpc = connectRpc({ baseUrl: `http://127.0.0.1:${service.port}`, domain: "none", attemptsMax: 1 });
  const timelines = rpc.client(TimelineService);
  const store = createMemoryStore();
  const clock = createSystemClock();
  const spool = createSpool({ store, clock });
  const exporter = startExporter({ spool, store, connection: rpc, clock, log: silentLog, instanceId: "i", build: "b" });
  const ids = ["a", "b", "c"];
  for (const sessionId of ids) {
    const content = { tenantId, sessionId, epoch: 1, pipeline: "p@1", level: "L1", config: null };
    spool.append({ tenantId, sessionId, epoch: 1 }, "session", JSON.stringify(content));
  }
  let lines = 0;
  for (let round = 0; round < 4; round++) {
    const before = exporter.stats().exported;
    const wanted = before + 20 + 137 * round;
    // Records keep coming until so many more are acknowledged; the rest is somewhere on its way.
    while (exporter.stats().exported < wanted) {
      if (3 * lines < before + 6_000) {
        for (const sessionId of ids) more(spool, sessionId, lines + 1, 10);
        lines += 10;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await kill(service);
    const acknowledged = exporter.stats().exported;
    service = await start(data, service.port);
    let stored = 0;
    for (const sessionId of ids) {
      const found = await timelines.verifyTimeline({ session: { tenantId, sessionId } }).catch((failure: unknown) => {
        // Nothing of this one was stored yet.
        expect(ErrorReason[rpcErrorOf(failure, "none").reason]).toBe("SESSION_NOT_FOUND");
        return null;
      });
      if (found !== null) expect(found).toMatchObject({ chainIntact: true, faults: [] });
      stored += Number(found?.records ?? 0);
    }
    expect(stored).toBeGreaterThanOrEqual(acknowledged);
  }
  await exporter.idle();
  for (const sessionId of ids) {
    const indexes: number[] = [];
    for await (const { records } of timelines.readTimeline({ session: { tenantId, sessionId } }))
      for (const { body } of records) if (body.case === "batch") indexes.push(Number(body.value.batchSequence));
    expect(indexes).toEqual(Array.from({ length: lines }, (_, i) => i + 1));
    expect(await timelines.verifyTimeline({ session: { tenantId, sessionId } })).toMatchObject({ chainIntact: true });
  }
  expect(exporter.stats().halted).toBe(0);
  await exporter.stop();
  await spool.close();
  const gone = new Promise((resolve) => service.child.once("close", resolve));
  service.child.kill("SIGTERM");
  expect(await gone).toBe(0);
}, 180_000);
