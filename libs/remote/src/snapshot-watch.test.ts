import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { asMonoNs, asWallMs } from "@rspp/base/brand";
import {
  type WatchSnapshotsRequest,
  WatchSnapshotsResponseSchema,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { PolicySnapshotSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import type { Clock } from "@rspp/ports/clock";
import { snapshotVersion } from "@rspp/protocol/snapshot-watch-types";
import type { RpcConnection } from "@rspp/rpc/clients";
import { afterEach, expect, test } from "vitest";
import { openSnapshotDisk } from "./snapshot-disk.ts";
import { SnapshotWatch, type SnapshotWatchOptions } from "./snapshot-watch.ts";

const folder = mkdtempSync(join(tmpdir(), "rspp-snapshots-"));
const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

const silent = { info: () => undefined, warn: () => undefined };

function clockAt(startMs: number): Clock & { ms: number } {
  const clock = {
    ms: startMs,
    nowNs: () => asMonoNs(clock.ms * 1e6),
    wallMs: () => asWallMs(1_800_000_000_000 + clock.ms),
    timerAt: () => ({ clear: () => undefined }),
    hold: () => () => undefined,
  };
  return clock;
}

const policyOf = (tenantId: string) =>
  toBinary(
    PolicySnapshotSchema,
    create(PolicySnapshotSchema, {
      policies: [{ tenantId, name: "main", version: 1, digest: new Uint8Array(32), content: new Uint8Array([1]) }],
    }),
  );

interface Sent {
  snapshot: { kind: string; version: string; takenWallMs: bigint };
  nonce: string;
  content: Uint8Array;
  contentType: string;
  unchanged?: boolean;
}
const sending = (version: number, part: Partial<Sent> = {}): Sent => ({
  snapshot: { kind: "policy", version: snapshotVersion("policy", version), takenWallMs: 1n },
  nonce: `n${version}`,
  content: policyOf(`t${version}`),
  contentType: PolicySnapshotSchema.typeName,
  ...part,
});

/** A registry that sends what it is told to, and keeps what it heard; each connection is counted. */
class Registry {
  readonly heard: WatchSnapshotsRequest[] = [];
  calls = 0;
  connections = 0;
  away = false;
  #say: (sent: Sent | null) => void = () => undefined;
  #queue: (Sent | null)[] = [];
  readonly #listeners = new Set<() => void>();

  readonly connection = {
    client: () => {
      this.calls += 1;
      return { watchSnapshots: (requests: AsyncIterable<WatchSnapshotsRequest>) => this.#watch(requests) };
    },
  } as unknown as RpcConnection;

  send(sent: Sent | null): void {
    this.#queue.push(sent);
    this.#say(sent);
  }

  async until(there: () => boolean): Promise<void> {
    while (!there()) {
      await new Promise<void>((resolve) => {
        this.#listeners.add(resolve);
      });
    }
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  async *#watch(requests: AsyncIterable<WatchSnapshotsRequest>) {
    if (this.away) {
      this.#changed();
      throw new Error("away");
    }
    this.connections += 1;
    this.#queue = [];
    void (async () => {
      for await (const request of requests) {
        this.heard.push(request);
        this.#changed();
      }
    })();
    this.#changed();
    for (;;) {
      const next = this.#queue.shift();
      if (next === null) return;
      if (next !== undefined) yield create(WatchSnapshotsResponseSchema, next);
      else
        await new Promise<void>((resolve) => {
          this.#say = () => resolve();
        });
    }
  }
}

function watching(registry: Registry, clock: Clock, more: Partial<SnapshotWatchOptions> = {}) {
  const watch = new SnapshotWatch({
    clock,
    registry: registry.connection,
    instanceId: "rt-1",
    log: silent,
    take: { policy: () => null },
    disk: null,
    ...more,
  });
  closing.push(async () => {
    const closed = watch.close();
    registry.send(null);
    await closed;
  });
  return watch;
}

test("F-102 a version is put to use and acknowledged; one that cannot be used is refused with the reason, the last stays", async () => {
  const registry = new Registry();
  const taken: string[] = [];
  const take = {
    policy: ({ policies: [first] }: { policies: { tenantId: string }[] }, version: string) => {
      if (first?.tenantId === "t2") return "rules[0].when: unknown name";
      taken.push(version);
      return null;
    },
  };
  const clock = clockAt(0);
  const watch = watching(registry, clock, { take });
  await watch.start();
  await registry.until(() => registry.heard.length === 1);
  expect(registry.heard[0]).toMatchObject({ instanceId: "rt-1", kinds: ["policy"], acceptedVersions: [] });
  expect(watch.freshness("policy").state).toBe("missing");
  registry.send(sending(1));
  await registry.until(() => registry.heard.length === 2);
  expect(registry.heard[1]).toMatchObject({ nonce: "n1", acceptedVersion: "policy@1" });
  registry.send(sending(2));
  await registry.until(() => registry.heard.length === 3);
  expect(registry.heard[2]).toMatchObject({
    nonce: "n2",
    acceptedVersion: "policy@1",
    refused: { metadata: { problem: "rules[0].when: unknown name", version: "policy@2" } },
  });
  registry.send(sending(3, { content: new Uint8Array([255, 255]) }));
  await registry.until(() => registry.heard.length === 4);
  expect(registry.heard[3]?.refused?.metadata.problem).toBe("its content cannot be read");
  expect(taken).toEqual(["policy@1"]);
  expect(watch.current("policy")).toMatchObject({ name: "policy@1", state: "stale" });
  expect(watch.stats()).toMatchObject({ accepted: 1, refused: 2 });

  // After a break it says what it has and what it refused.
  registry.send(null);
  await registry.until(() => registry.connections === 2 && registry.heard.length === 5);
  expect(registry.heard[4]).toMatchObject({ acceptedVersions: ["policy@1"], refusedVersions: ["policy@3"] });
});

test("F-159 through an outage and a restart the last good one stays in force, as old as it is; a torn file is none", async () => {
  const disk = openSnapshotDisk(folder);
  const registry = new Registry();
  const clock = clockAt(0);
  const watch = watching(registry, clock, { disk });
  await watch.start();
  await registry.until(() => registry.heard.length === 1);
  registry.send(sending(7));
  expect(await watch.first(10_000)).toBe(true);
  await registry.until(() => registry.heard.length === 2);
  await disk.touch("policy", clock.wallMs());
  const file = join(folder, "policy.snapshot");

  const away = new Registry();
  away.away = true;
  const later = clockAt(60_000);
  const restarted = watching(away, later, { disk: openSnapshotDisk(folder) });
  await restarted.start();
  const found = restarted.current("policy");
  expect(found).toMatchObject({ name: "policy@7", state: "stale", content: { policies: [{ tenantId: "t7" }] } });
  expect(found?.ageMs).toBeGreaterThanOrEqual(59_000);
  later.ms = 60_000 + 900_000;
  expect(restarted.freshness("policy").state).toBe("too_stale");

  const whole = readFileSync(file);
  for (const torn of [whole.subarray(0, whole.length - 1), whole.subarray(0, 10), Buffer.from("policy@9 00\nx")]) {
    writeFileSync(file, torn);
    const bare = watching(away, clock, { disk: openSnapshotDisk(folder) });
    await bare.start();
    expect(bare.freshness("policy").state).toBe("missing");
  }
});

test("F-159 reading what is in force asks nobody, however often", async () => {
  const registry = new Registry();
  const clock = clockAt(0);
  const watch = watching(registry, clock);
  await watch.start();
  await registry.until(() => registry.heard.length === 1);
  registry.send(sending(1));
  await watch.first(10_000);
  const calls = registry.calls;
  clock.ms = 20_000;
  for (let i = 0; i < 1_000; i++) watch.current("policy");
  expect(watch.freshness("policy")).toMatchObject({ state: "stale", ageMs: 20_000 });
  expect(registry.calls).toBe(calls);
  // One word that it is still current makes it fresh.
  registry.send(sending(1, { unchanged: true, nonce: "unchanged", content: new Uint8Array() }));
  await new Promise<void>((resolve) => {
    const look = () => (watch.freshness("policy").state === "fresh" ? resolve() : setImmediate(look));
    look();
  });
});
