/** Replicas of the lease service as processes on one PostgreSQL, that are killed and stopped while they are asked. */
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { debianMissing, startDebianServer } from "@rspp/store/testkit/debian-server";
import { testDatabase } from "@rspp/store/testkit/test-database";
import { dataDir, type RunningService, startService, stopService } from "../integration/services-rig.ts";

export interface Replica {
  readonly name: string;
  /** Null while it is being started again. */
  running: RunningService | null;
  stopped: boolean;
}

export interface Replicas {
  readonly all: readonly Replica[];
  readonly databaseUrl: string;
  /** Kills with SIGKILL, and starts it again. */
  kill(replica: Replica): Promise<void>;
  /** SIGSTOP, and SIGCONT after `forMs`. */
  suspend(replica: Replica, forMs: number): Promise<void>;
  close(): Promise<void>;
}

async function anyServer(): Promise<{ url: string; close(): Promise<void> }> {
  if (debianMissing() === undefined) return startDebianServer();
  const embedded = await testDatabase();
  return { url: embedded.db.url, close: () => embedded.close() };
}

export async function startReplicas(count: number): Promise<Replicas> {
  const data = dataDir();
  const database = await anyServer();
  const key = join(data.dir, "grant.pem");
  const { privateKey } = generateKeyPairSync("ed25519");
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const start = (name: string): Promise<RunningService> =>
    startService("lease", {
      args: ["--data", join(data.dir, name), "--grant-key", `file:${key}`],
      env: { DATABASE_URL: database.url, RSPP_INSTANCE_ID: `${name}-${randomUUID().slice(0, 8)}` },
    });
  const all = Array.from({ length: count }, (_, i): Replica => ({ name: `lease-${i}`, running: null, stopped: false }));
  const close = async (): Promise<void> => {
    for (const { running } of all) {
      running?.child.kill("SIGCONT");
      if (running !== null) await stopService(running, "SIGKILL");
    }
    await database.close();
    data.remove();
  };
  try {
    await Promise.all(all.map(async (replica) => (replica.running = await start(replica.name))));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    all,
    databaseUrl: database.url,
    kill: async (replica) => {
      const { running } = replica;
      if (running === null) return;
      replica.running = null;
      await stopService(running, "SIGKILL");
      replica.running = await start(replica.name);
    },
    suspend: async (replica, forMs) => {
      const { running } = replica;
      if (running === null) return;
      replica.stopped = true;
      running.child.kill("SIGSTOP");
      await pause(forMs);
      running.child.kill("SIGCONT");
      replica.stopped = false;
    },
    close,
  };
}
