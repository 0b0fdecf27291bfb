import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { asWallMs } from "@rspp/base/brand";
import { canonicalJson } from "@rspp/base/canonical-json";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import {
  type WatchSnapshotsRequest,
  WatchSnapshotsRequestSchema,
  type WatchSnapshotsResponseSchema,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import {
  AdmissionSnapshotSchema,
  PolicySnapshotSchema,
  ProviderHealthSnapshotSchema,
  RoutingSnapshotSchema,
} from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import { parsePublished } from "@rspp/spec/published/documents";
import { readProviderConfig } from "@rspp/spec/published/provider-config";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import { pgSnapshotStore } from "@rspp/store/pg-snapshot-store";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createStatuses } from "../statuses.ts";
import { admissionContent } from "./admission-content.ts";
import { siftDocuments } from "./consistency.ts";
import { aggregateHealth } from "./health-aggregate.ts";
import { SnapshotHub } from "./hub.ts";
import { policyCheck, rolloutCheck, snapshotContents } from "./ports.ts";
import { watchSnapshots } from "./watch.ts";

let at: TestDatabase;
beforeAll(async () => {
  at = await testDatabase();
});
afterAll(() => at.close());

const clock = { wallMs: () => asWallMs(1_800_000_000_000) };
const silent = { info: () => undefined, warn: () => undefined };

function replica() {
  const store = pgSnapshotStore(at.db);
  const documents = pgActiveDocuments(at.db);
  const sessions = pgSessionStore(at.db);
  const statuses = createStatuses(sessions, clock);
  const contents = snapshotContents(
    { documents, snapshots: store, pipelines: pgPipelineStore(at.db), clock },
    statuses,
  );
  const hub = new SnapshotHub({ store, contents, log: silent, nowMs: () => performance.now(), everyMs: 200 });
  hub.start();
  return { hub, store, sessions };
}

type Response = MessageInitShape<typeof WatchSnapshotsResponseSchema>;

/** A watcher that says what it is told to. */
class Watcher {
  readonly #queue: WatchSnapshotsRequest[] = [];
  #wake: () => void = () => undefined;
  #ended = false;
  readonly stream: AsyncGenerator<Response, void>;
  readonly #end = new AbortController();

  constructor(hub: SnapshotHub, first: MessageInitShape<typeof WatchSnapshotsRequestSchema>) {
    this.say(first);
    const register = () => () => undefined;
    this.stream = watchSnapshots(this.#requests(), {
      hub,
      connectionId: "w",
      signal: this.#end.signal,
      register,
    });
  }

  say(request: MessageInitShape<typeof WatchSnapshotsRequestSchema>): void {
    this.#queue.push(create(WatchSnapshotsRequestSchema, { instanceId: "rt-1", ...request }));
    this.#wake();
  }

  /** The next snapshot, `unchanged` ones left out. */
  async next(): Promise<Response> {
    for (;;) {
      const { value, done } = await this.stream.next();
      if (done === true) throw new Error("the watch ended");
      if (value.unchanged !== true) return value;
    }
  }

  async close(): Promise<void> {
    this.#ended = true;
    this.#wake();
    this.#end.abort();
    await this.stream.return();
  }

  async *#requests(): AsyncGenerator<WatchSnapshotsRequest, void> {
    while (!this.#ended) {
      const next = this.#queue.shift();
      if (next !== undefined) yield next;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

const instance = (instanceId: string) => ({
  instanceId,
  role: "runtime",
  address: `http://${instanceId}`,
  region: "",
  build: "1",
  capacitySessions: 2,
  sessions: 0,
  draining: false,
  ready: true,
  endpoints: {},
  reportedWallMs: clock.wallMs(),
});
const idsOf = ({ content = new Uint8Array() }: Response) =>
  fromBinary(RoutingSnapshotSchema, content).view?.instances.map(({ instanceId }) => instanceId);

test("F-159 two replicas serve one version; what one writes the other's watchers get, and load makes no version", async () => {
  const [one, other] = [replica(), replica()];
  const watcher = new Watcher(other.hub, { kinds: ["routing"] });
  const first = await watcher.next();
  expect(first.snapshot?.version).toMatch(/^routing@\d+$/);
  watcher.say({ nonce: first.nonce ?? "", acceptedVersion: first.snapshot?.version ?? "" });
  await one.sessions.reportInstance(instance("rt-9"));
  one.hub.wake();
  const second = await watcher.next();
  expect(idsOf(second)).toEqual(["rt-9"]);
  watcher.say({ nonce: second.nonce ?? "", acceptedVersion: second.snapshot?.version ?? "" });
  await one.sessions.reportInstance({ ...instance("rt-9"), sessions: 2 });
  one.hub.wake();
  const still = await watcher.stream.next();
  expect(still.value).toMatchObject({ unchanged: true, snapshot: { version: second.snapshot?.version } });
  await watcher.close();

  // It comes back with what it has: nothing is sent again.
  const again = new Watcher(one.hub, { kinds: ["routing"], acceptedVersions: [second.snapshot?.version ?? ""] });
  expect((await again.stream.next()).value).toMatchObject({ unchanged: true });
  await again.close();
  await Promise.all([one.hub.close(), other.hub.close()]);
});

test("F-102 a refusal is noted with its reason, and the version is not offered again", async () => {
  const { hub, sessions } = replica();
  const watcher = new Watcher(hub, { kinds: ["routing"] });
  const first = await watcher.next();
  const refused = {
    reason: ErrorReason.SCHEMA_VALIDATION_ERROR,
    domain: "runtime",
    metadata: { problem: "cannot read it" },
  };
  watcher.say({ nonce: first.nonce ?? "", refused });
  expect((await watcher.stream.next()).value).toMatchObject({ unchanged: true });
  expect(hub.refusals("routing")).toEqual([
    { instanceId: "rt-1", version: first.snapshot?.version, reason: "cannot read it" },
  ]);
  await sessions.reportInstance(instance("rt-10"));
  hub.wake();
  const second = await watcher.next();
  expect(second.snapshot?.version).not.toBe(first.snapshot?.version);
  await watcher.close();
  await hub.close();
});

test("F-126 a subscription or answer that fits nothing is refused by its field", async () => {
  const { hub } = replica();
  const bad = async (first: MessageInitShape<typeof WatchSnapshotsRequestSchema>) => {
    const watcher = new Watcher(hub, first);
    const failure = await watcher.stream.next().then(
      () => null,
      (error: { detail: { violations: { field: string }[] } }) => error.detail.violations[0]?.field,
    );
    await watcher.close();
    return failure;
  };
  expect(await bad({ kinds: [] })).toBe("kinds");
  expect(await bad({ kinds: ["routing", "weather"] })).toBe("kinds[1]");
  expect(await bad({ kinds: ["routing"], acceptedVersions: ["routing@x"] })).toBe("accepted_versions[0]");
  const watcher = new Watcher(hub, { kinds: ["routing"] });
  await watcher.next();
  watcher.say({ nonce: "made up" });
  await expect(watcher.stream.next()).rejects.toMatchObject({ detail: { violations: [{ field: "nonce" }] } });
  await hub.close();
});

test("F-102 a document that is not consistent is kept back, and the one of before stays in its place", async () => {
  const document = (tenantId: string, version: number) => ({
    tenantId,
    kind: "policy" as const,
    name: "main",
    version,
    digest: "00".repeat(32),
    content: new TextEncoder().encode(`${tenantId} ${version}`),
  });
  const check = async ({ content }: { content: Uint8Array }) =>
    new TextDecoder().decode(content) === "acme 2" ? "names provider x/y, which no gateway has" : null;
  const before = await siftDocuments([document("acme", 1), document("beta", 1)], [], check);
  expect(before.keptBack).toEqual([]);
  const { documents, keptBack } = await siftDocuments(
    [document("acme", 2), document("beta", 2)],
    before.documents as never,
    check,
  );
  expect(documents.map(({ tenantId, version }) => [tenantId, version])).toEqual([
    ["acme", 1],
    ["beta", 2],
  ]);
  expect(keptBack).toEqual([{ subject: "policy/acme/main@2", problem: "names provider x/y, which no gateway has" }]);
});

test("F-102 the configuration of providers goes out with the policies; what cannot be read is kept back", async () => {
  const publish = (version: number, content: Uint8Array) =>
    pgPipelineStore(at.db).publish({
      tenantId: "acme",
      kind: "provider_config",
      name: "main",
      version,
      author: "ada",
      publishedWallMs: 1,
      note: "",
      content,
      source: content,
      sourceFormat: "yaml",
    });
  const config =
    'schema: rspp/provider-config/v1\nname: main\nproviders: {v/a: {price: 2, endpoint: "https://v.example"}}\n';
  await publish(1, publishedBytes(config));
  await publish(2, new TextEncoder().encode('{"format":"later/v9"}'));
  const { hub } = replica();
  const watcher = new Watcher(hub, { kinds: ["policy"] });
  const told = async () => {
    const { content = new Uint8Array(), nonce = "", snapshot } = await watcher.next();
    watcher.say({ nonce, acceptedVersion: snapshot?.version ?? "" });
    return fromBinary(PolicySnapshotSchema, content);
  };
  let found = await told();
  expect(found.providerConfigs).toEqual([]);
  expect(hub.keptBack("policy")).toMatchObject([{ subject: "provider_config/acme/main@2" }]);
  // The next one that can be read goes out.
  await publish(3, publishedBytes(config.replace("price: 2", "price: 3")));
  hub.wake();
  while (found.providerConfigs[0]?.version !== 3) found = await told();
  expect(readProviderConfig(found.providerConfigs[0]?.content ?? new Uint8Array())?.providers).toEqual({
    "v/a": { price: 3, endpoint: "https://v.example" },
  });
  await watcher.close();
  await hub.close();
});

test("F-060 a provider is as most of the gateways that can open it say", async () => {
  const told = (instanceId: string, circuit: number, part: object = {}) => ({
    instanceId,
    provider: "p/a",
    circuit,
    errorPermille: 0,
    p95FirstOutputMs: 120,
    priceMicros: null,
    available: true,
    reportedWallMs: 1,
    ...part,
  });
  const circuitOf = (...reports: ReturnType<typeof told>[]) => aggregateHealth(reports)[0]?.health?.circuit;
  expect(circuitOf(told("a", 2), told("b", 1), told("c", 1))).toBe(1);
  expect(circuitOf(told("a", 2), told("b", 2), told("c", 1))).toBe(2);
  expect(circuitOf(told("a", 2, { available: false }), told("b", 1))).toBe(1);
  expect(aggregateHealth([told("a", 2, { available: false })])[0]).toMatchObject({ available: false, reporters: 1 });
  expect(
    aggregateHealth([told("a", 1, { priceMicros: 7 }), told("b", 1, { priceMicros: 9 })])[0]?.health,
  ).toMatchObject({
    priceMicros: 9n,
    p95FirstOutputMs: 200,
  });
  const { hub, store } = replica();
  await store.reportProviders("gw", [told("gw", 2)], clock.wallMs());
  hub.wake();
  const watcher = new Watcher(hub, { kinds: ["provider_health"] });
  let found = await watcher.next();
  while (fromBinary(ProviderHealthSnapshotSchema, found.content ?? new Uint8Array()).providers.length === 0) {
    watcher.say({ nonce: found.nonce ?? "" });
    found = await watcher.next();
  }
  expect(fromBinary(ProviderHealthSnapshotSchema, found.content ?? new Uint8Array()).providers).toMatchObject([
    { available: true, health: { provider: "p/a", circuit: 2 } },
  ]);
  await watcher.close();
  await hub.close();
});

test("F-102 a policy that names a provider nobody has, or a rollout a version nobody published, is not consistent", async () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const document = (text: string) => ({ tenantId: "t", name: "main", content: bytes(text) });
  const policy = (provider: string) =>
    document(
      `{"schema":"rspp/policy/v1","name":"main","version":"1","rules":[{"id":"a","candidates":{"llm":["${provider}"]}}]}`,
    );
  const reports = (...names: string[]) => ({
    providerReports: async () =>
      names.map((provider) => ({
        provider,
        instanceId: "gw",
        circuit: 1,
        errorPermille: 0,
        p95FirstOutputMs: 0,
        priceMicros: null,
        available: false,
        reportedWallMs: 1,
      })),
  });
  expect(await policyCheck(reports("v/a"))(policy("v/a"))).toBeNull();
  expect(await policyCheck(reports("v/a"))(policy("v/b"))).toContain("names the provider v/b, which no gateway has");
  expect(await policyCheck(reports())(policy("v/b"))).toBeNull();
  expect(await policyCheck(reports())(document("{}"))).toContain("schema");
  const published = {
    get: async (_t: string, _k: string, _n: string, version: number) => (version < 3 ? ({} as never) : undefined),
  };
  const rollout = (canary: number) =>
    document(JSON.stringify({ rollout: { stable: 1, canary: { version: canary, perTenThousand: 5 }, tenants: {} } }));
  expect(await rolloutCheck(published)(rollout(2))).toBeNull();
  expect(await rolloutCheck(published)(rollout(3))).toContain("main@3");
  expect(await rolloutCheck(published)(document("{}"))).toContain("publish it again");
});

/** As the registry keeps what was published. */
function publishedBytes(text: string): Uint8Array {
  const read = parsePublished(text, "document.yaml");
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  return new TextEncoder().encode(canonicalJson(read.value.content));
}

test("F-050 the admission snapshot holds each tenant's limits over the platform's, and a runtime's part of its rate", () => {
  const document = (tenantId: string, version: number, text: string) => ({
    tenantId,
    kind: "tenant_config" as const,
    name: "config",
    version,
    digest: "",
    content: publishedBytes(`schema: rspp/tenant-config/v1\n${text}`),
  });
  const documents = [
    document("*", 4, "turns: {per_minute: 600, on_exceeded: reject}\nsessions: {concurrent_max: 10}"),
    document("acme", 2, "turns: {per_session_per_minute: 30}"),
  ];
  expect(fromBinary(AdmissionSnapshotSchema, admissionContent(documents, 4)).tenants).toMatchObject([
    { tenantId: "*", configVersion: 4, turnsPerMinute: 150, sessionsMax: 10, turnsOver: 1 },
    {
      tenantId: "acme",
      configVersion: 2,
      turnsPerMinute: 150,
      sessionTurnsPerMinute: 30,
      sessionsMax: 10,
      turnsOver: 1,
    },
  ]);
});
