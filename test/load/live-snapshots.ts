/**
 * Snapshots of a control plane beside the runtime under load (P8): a registry's hub over a store in memory, watched over a
 * socket; policy and provider health change every second, and every session is told.
 */
import { createHash } from "node:crypto";
import { asWallMs } from "@rspp/base/brand";
import type { GraphDefinition } from "@rspp/kernel/graph";
import type { Clock } from "@rspp/ports/clock";
import { SnapshotHub } from "@rspp/registry/snapshots/hub";
import { snapshotContents } from "@rspp/registry/snapshots/ports";
import { snapshotRoutes } from "@rspp/registry/snapshots/snapshot-routes";
import type { Statuses } from "@rspp/registry/statuses";
import { keep, SnapshotWatch } from "@rspp/remote/snapshot-watch";
import { connectRpc } from "@rspp/rpc/clients";
import { startRpcServer } from "@rspp/rpc/server";
import { ControlSnapshots } from "@rspp/runtime/control-snapshots";
import { PolicyBook } from "@rspp/runtime/policy-book";
import type { RuntimeSession } from "@rspp/runtime/runtime";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import type { ActiveDocument } from "@rspp/store/active-documents";
import type { SnapshotStore, StoredSnapshot } from "@rspp/store/snapshot-store";

const CHANGE_EVERY_MS = 1_000;
const silent = { info: () => undefined, warn: () => undefined };

/** One replica's store, without a database. */
function memoryStore(): SnapshotStore {
  const held = new Map<string, StoredSnapshot>();
  return {
    read: async (newer) => [...held.values()].filter(({ kind, version }) => version > (newer[kind] ?? 0)),
    publish: async (kind, make, takenWallMs) => {
      const current = held.get(kind) ?? null;
      const content = await make(current);
      if (content === null) return null;
      const digest = createHash("sha256").update(content).digest("hex");
      if (current?.digest === digest) return { snapshot: current, changed: false };
      const snapshot = { kind, version: (current?.version ?? 0) + 1, digest, content, takenWallMs };
      held.set(kind, snapshot);
      return { snapshot, changed: true };
    },
    raise: async () => undefined,
    onChange: () => ({ close: () => undefined }),
    reportProviders: async () => undefined,
    providerReports: async () => [],
    forgetProviders: async () => 0,
  };
}

export interface LiveSnapshots {
  /** Turns of the session are bound by the policy in force from now on. */
  bind(session: RuntimeSession): void;
  /** Snapshots that were put in force. */
  accepted(): number;
  close(): Promise<void>;
}

export async function liveSnapshots(clock: Clock, graph: GraphDefinition): Promise<LiveSnapshots> {
  const store = memoryStore();
  const began = performance.now();
  const document = (): ActiveDocument => {
    const version = 1 + Math.floor((performance.now() - began) / CHANGE_EVERY_MS);
    const candidates = graph.nodes.find(({ kind }) => kind === "llm")?.candidates.map(({ provider }) => provider) ?? [];
    const rules = [
      { id: "north", when: 'region == "north" && vars.size > 3', candidates: { llm: ["nobody/here"] } },
      { id: "all", candidates: { llm: candidates }, caps: { tokens: 1_000 + version, tts_characters: 9_000 } },
    ];
    const text = JSON.stringify({ schema: "rspp/policy/v1", name: "default", version: String(version), rules });
    const content = new TextEncoder().encode(text);
    const digest = createHash("sha256").update(content).digest("hex");
    return { tenantId: "*", kind: "policy", name: "default", version, digest, content };
  };
  const documents = {
    list: async (kind: string) => (kind === "policy" ? [document()] : []),
    onChange: () => ({ close: () => undefined }),
  };
  const none = { version: "1", takenWallMs: 0, maxStalenessMs: 15_000, instances: [] };
  const statuses = { view: async () => none } as unknown as Statuses;
  const wall = { wallMs: () => asWallMs(Date.now()) };
  const pipelines = { get: async () => undefined };
  const contents = snapshotContents({ documents, snapshots: store, pipelines, clock: wall }, statuses);
  const hub = new SnapshotHub({ store, contents, log: silent, nowMs: () => performance.now(), everyMs: 500 });
  let ids = 0;
  const served = snapshotRoutes({ hub, newId: (prefix) => `${prefix}${ids++}` });
  const server = await startRpcServer({ domain: "registry", port: 0, routes: [served.route] });
  hub.start();
  const book = new PolicyBook("south");
  const registry = connectRpc({ baseUrl: `http://127.0.0.1:${server.port}`, domain: "registry" });
  const take = {
    policy: (content: Parameters<PolicyBook["takePolicies"]>[0]) => book.takePolicies(content),
    provider_health: (content: Parameters<PolicyBook["takeHealth"]>[0]) => book.takeHealth(content),
    rollout: keep,
    admission: keep,
    routing: keep,
  };
  const onHeard = () => snapshots.changed();
  const watch = new SnapshotWatch({ clock, registry, instanceId: "core", log: silent, take, disk: null, onHeard });
  const providers = graph.nodes.flatMap(({ candidates }) => candidates.map(({ provider }) => provider));
  const snapshots = new ControlSnapshots({ watch, book, available: () => providers, logger: silent });
  await watch.start();
  if (!(await watch.first(10_000))) throw new Error("no snapshots came");
  const pipeline = { graph, name: "load", version: "1", fingerprint: "0".repeat(64), profile: "simple/v1" };
  const subject = { tenant: "load", pipeline: "load", vars: {} };
  return {
    bind: (session) => snapshots.keep(session, pipeline as unknown as CompiledPipeline, subject),
    accepted: () => watch.stats().accepted,
    close: async () => {
      await watch.close();
      await hub.close();
      await server.stop(0);
    },
  };
}
