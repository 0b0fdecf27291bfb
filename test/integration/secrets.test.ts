/**
 * F-117, NF-011: registry, lease service and runtime in this process, at log level debug, with a collector that takes all
 * their telemetry. Secrets are planted wherever somebody may put one; whatever the platform prints, exports or answers is
 * searched for them.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseWav, wavTo16kMono } from "@rspp/audio/wav";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { LeaseService } from "@rspp/gen/rspp/lease/v1/lease_service_pb";
import { AccessService, AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { RegistryService, SnapshotService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { ServiceFields } from "@rspp/host/common-fields";
import { describeProblem, resolveConfig } from "@rspp/host/config";
import { type Reporter, startReporter } from "@rspp/host/instance-report";
import type { ServiceDefinition } from "@rspp/host/service";
import { type RunningService, startService } from "@rspp/host/start";
import { leaseDefinition } from "@rspp/lease/definition";
import { createProviderGateway } from "@rspp/provider-gateway/gateway";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { openVendors } from "@rspp/provider-gateway/vendors/vendors";
import { registryDefinition } from "@rspp/registry/definition";
import { connectRpc } from "@rspp/rpc/clients";
import { RpcError } from "@rspp/rpc/errors";
import type { Admission, ProofVerifier } from "@rspp/runtime/admission";
import { createRuntimeDefinition } from "@rspp/runtime/definition";
import type { Database } from "@rspp/store/database";
import { type TestDatabase, testDatabase } from "@rspp/store/testkit/test-database";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Collector, startCollector } from "./otlp-collector.ts";
import { type Call, call, clock, connectionTo, type RuntimeRig, ticketOf, until } from "./runtime-service-rig.ts";

/** One word each, so that a cut or an escape hides none; upper case, so that no code holds one by chance. */
const planted = {
  apiKey: "SKLIVEAPIKEY7F3A",
  bearer: "BEARERTOKEN91CC",
  configured: "CONFIGUREDTOKEN44DE",
  heard: "HEARDBYTHECALLER5B",
  misplaced: "MISPLACEDINFLAG8E",
  prompt: "SYSTEMPROMPT0C2D",
  reason: "CANCELREASON6A1B",
  reply: "REPLYOFTHEMODEL3E",
  upstream: "UPSTREAMBODYD0D0",
  variable: "ROUTEVARIABLE77AB",
} as const;
const env = { PLANTED_KEY: planted.apiKey, PLANTED_CONFIG: planted.configured };

let collector: Collector;
let upstream: Server;
let database: TestDatabase;
let adapter: Reporter;
let door: { admission: Admission; proofs: ProofVerifier } | null = null;
const services: RunningService[] = [];
const dir = mkdtempSync(join(tmpdir(), "rspp-secrets-"));
/** Everything that left the platform for eyes other than the caller's. */
const seen: { readonly where: string; readonly text: string }[] = [];
const tokens: string[] = [];
const see = (where: string, text: string): void => void seen.push({ where, text });

async function begin<F extends ServiceFields>(
  definition: ServiceDefinition<F>,
  flags: readonly string[],
  db?: Database,
): Promise<RunningService> {
  const { service, fields } = definition;
  const streams = "stream_port" in fields ? ["--stream-port", "0"] : [];
  const argv = ["--port", "0", ...streams, "--log-level", "debug", "--otlp", collector.url, ...flags];
  const config = resolveConfig(fields, { service, argv, env: {} });
  if (!config.ok || "help" in config.value) throw new Error("the configuration holds");
  see(`${service} configuration`, JSON.stringify(config.value.shown));
  const running = await startService(definition, config.value.values, {
    env,
    logTo: (line) => see(`${service} log`, line),
    ...(db === undefined ? {} : { database: db }),
  });
  services.push(running);
  return running;
}

/** A chat endpoint that answers once, and then refuses in words that hold what it was sent. */
function startUpstream(): Promise<Server> {
  let asked = 0;
  const server = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      asked += 1;
      if (asked > 1) {
        const message = `key ${request.headers.authorization} refused: ${planted.upstream}`;
        response.writeHead(401, { "content-type": "application/json" });
        return response.end(JSON.stringify({ error: { message, code: planted.upstream, type: planted.upstream } }));
      }
      response.writeHead(200, { "content-type": "text/event-stream" });
      const delta = { choices: [{ delta: { content: `${planted.reply} is what I say. ` } }] };
      response.write(`data: ${JSON.stringify(delta)}\n\n`);
      const stop = { choices: [{ delta: {}, finish_reason: "stop" }] };
      response.end(`data: ${JSON.stringify(stop)}\n\ndata: [DONE]\n\n`);
    });
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

const pipeline = `schema: rspp/pipeline/v1
template: voice-assistant
name: secretive
version: 1
conversation: {system_prompt: "Never say ${planted.prompt}."}
providers:
  stt: {candidates: [sim/stt]}
  llm: {candidates: [openai/chat], settings: {api_key: "env:PLANTED_KEY", model: "m"}}
  tts: {candidates: [sim/tts], settings: {ms_per_char: 20}}
`;

beforeAll(async () => {
  [collector, upstream, database] = await Promise.all([startCollector(), startUpstream(), testDatabase()]);
  const data = ["--data", database.dataDir];
  // One after the other: they are told apart by their order.
  const registry = await begin(registryDefinition, data, database.db);
  const lease = await begin(leaseDefinition, data, database.db);
  const baseUrl = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const definition = createRuntimeDefinition({
    watchdog: false,
    providers: async () => {
      const vendors = await openVendors({
        values: { openai_base_url: baseUrl, openai_api_key: "env:PLANTED_KEY" },
        env,
      });
      const providers = [createSimStt({ clock }), ...vendors.providers(clock), createSimTts({ clock })];
      return createProviderGateway({ clock, providers });
    },
    onAdmission: (admission, proofs) => {
      door = { admission, proofs };
    },
  });
  const peers = ["--registry", registry.ready.url, "--lease", lease.ready.url, "--gateway", "", "--silero", "off"];
  const token = ["--service-token", "env:PLANTED_CONFIG"];
  await begin(definition, ["--data", dir, "--instance-id", "runtime-1", ...token, ...peers]);
  const endpoints = [{ transport: "websocket", url: "ws://127.0.0.1:9/v1/session", region: "" }];
  const fixed = { instanceId: "adapter-1", role: "transport-websocket", region: "", build: "1", capacitySessions: 9 };
  const report = () => ({ ...fixed, sessions: 0, draining: false, ready: true, endpoints });
  adapter = startReporter({ registry: connectionTo(registry), log: registry.log, report });
  await adapter.first();
  const source = new TextEncoder().encode(pipeline);
  await connectionTo(registry).client(RegistryService).publishPipeline({ tenantId: "acme", source });
  await until(() => services.every(({ health }) => health.ready), "all ready");
});

afterAll(async () => {
  await adapter?.stop();
  for (const service of services) await service.stop(0);
  await database?.close();
  await collector?.close();
  upstream?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function aCall(): Promise<Call> {
  const [registry, lease, running] = services;
  if (registry === undefined || lease === undefined || running === undefined || door === null)
    throw new Error("no rig");
  const ticket = await ticketOf({ registry, lease }, door, "secretive", {
    name: planted.variable,
    sim_transcripts: [`${planted.heard} one`, `${planted.heard} two`],
  });
  tokens.push(ticket.token);
  const runtime: RuntimeRig = { ...door, running, rpc: connectionTo(running), log: [], close: () => Promise.resolve() };
  const made = await call(runtime, ticket);
  made.admitted.observe(["metrics", "debug", "error"], (note) => see("event", JSON.stringify(note)));
  return made;
}

/** Calls that are refused, with secrets in their headers and their bodies. */
async function badCalls(): Promise<void> {
  const [registry, lease] = services;
  const authorization = `Bearer ${planted.bearer}`;
  for (const service of [registry, lease]) {
    if (service === undefined) continue;
    const rpc = connectRpc({ baseUrl: service.ready.url, domain: "x", attemptsMax: 1, token: () => planted.bearer });
    const refused = [
      () =>
        rpc
          .client(RegistryService)
          .publishPipeline({ tenantId: "acme", source: new TextEncoder().encode(`x: [${planted.prompt}`) }),
      () =>
        rpc
          .client(RegistryService)
          .createRoute({ tenantId: "acme", pipelineName: "none", variables: { v: planted.variable } }),
      () => rpc.client(LeaseService).grantLease({ holderId: "nobody" }),
    ];
    for (const ask of refused) {
      const error: unknown = await ask().then(
        () => null,
        (failure: unknown) => failure,
      );
      if (error instanceof RpcError) see("rpc error", `${error.message} ${JSON.stringify(error.detail)}`);
      else if (error instanceof Error) see("rpc error", error.message);
    }
    const posted = await fetch(
      `${service.ready.url}/rspp.registry.v1.RegistryService/CreateRoute?key=${planted.bearer}`,
      {
        method: "POST",
        headers: { authorization, "content-type": "application/json" },
        body: `{"tenantId":"${planted.bearer}`,
      },
    );
    see("http answer", await posted.text());
    see("metrics", await (await fetch(`${service.ready.url}/metrics`, { headers: { authorization } })).text());
  }
}

/** Access tokens are made, used, refused and taken back; the log of it is read as an auditor does. */
async function accessTokens(): Promise<void> {
  const [registry] = services;
  if (registry === undefined) throw new Error("no rig");
  const as = (token: string) =>
    connectRpc({ baseUrl: registry.ready.url, domain: "x", attemptsMax: 1, token: () => token });
  const access = connectionTo(registry).client(AccessService);
  const ask = { tenantId: "acme", role: Role.VIEWER, subject: "auditor", ttlMs: 60_000n } as const;
  const { minted } = await access.createToken(ask);
  const token = minted?.token ?? "";
  const [head = "", body = "", mark = ""] = token.split(".");
  // The head tells the key's id alone.
  tokens.push(token, body, mark);
  const calls = [
    () => as(token).client(RegistryService).listPipelines({ tenantId: "other" }),
    () =>
      as(`${head}.${body}.${mark.slice(0, -2)}AA`)
        .client(RegistryService)
        .listPipelines({ tenantId: "acme" }),
    () => as(token).client(AccessService).createToken(ask),
  ];
  for (const refused of calls) await refused().catch((failure: unknown) => see("rpc error", String(failure)));
  see("tokens", text(await access.listTokens({ tenantId: "acme" })));
  see("tokens", text(await access.revokeToken({ tenantId: "acme", tokenId: minted?.about?.tokenId ?? "" })));
  const audit = connectionTo(registry).client(AuditService);
  await until(async () => text(await audit.listAudit({ tenantId: "acme" })).includes("RevokeToken"), "the record");
  for await (const page of audit.exportAudit({})) see("audit", text(page));
  see("audit", text(await audit.verifyAudit({})));
}

/** What runtimes, adapters and gateways are told of the platform. */
async function snapshots(): Promise<void> {
  const [registry] = services;
  if (registry === undefined) throw new Error("no rig");
  const wanted = new Set(["routing", "policy", "admission"]);
  const ended = new AbortController();
  const over = new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
  async function* asks() {
    yield { instanceId: "auditor", kinds: [...wanted] };
    await over;
  }
  try {
    for await (const told of connectionTo(registry).client(SnapshotService).watchSnapshots(asks())) {
      see("snapshot", text(told));
      wanted.delete(told.snapshot?.kind ?? "");
      if (wanted.size === 0) break;
    }
  } finally {
    ended.abort();
  }
}

/** Whatever a message holds, bytes as the text they may be. */
function text(message: object): string {
  return JSON.stringify(message, (_name, value: unknown) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
    return typeof value === "bigint" ? String(value) : value;
  });
}

test("F-117 NF-011 planted secrets are in no log line, trace, metric, event or error of a whole run at debug level", {
  timeout: 60_000,
}, async () => {
  const misplaced = resolveConfig(registryDefinition.fields, {
    service: "registry",
    argv: ["--service-token", planted.misplaced, "--database-url", `postgres://u:${planted.misplaced}@h/d`],
    env: { RSPP_TLS_KEY: planted.misplaced },
  });
  if (misplaced.ok) throw new Error("secrets by value are refused");
  for (const problem of misplaced.error) see("configuration problem", describeProblem(problem));

  const asset = new URL("../../cli/assets/question-1.wav", import.meta.url);
  const question = await wavTo16kMono(parseWav(readFileSync(asset)));
  const { line, admitted } = await aCall();
  // One answer, cut; then the model's endpoint refuses.
  const said =
    (...words: readonly string[]) =>
    () =>
      seen.some(({ where, text }) => where === "runtime log" && words.every((word) => text.includes(word)));
  line.speak(question);
  await until(said('"node_id":"llm"', '"outcome":"success"'), "the first answer", 12_000);
  admitted.session.operator("cancel_session", { reason: planted.reason });
  line.speak(question);
  await until(said('"outcome":"unauthorized"'), "the refusal of the endpoint", 20_000);
  await badCalls();
  await accessTokens();
  await snapshots();
  const ended = admitted.session.ended;
  admitted.session.operator("end", { reason: planted.reason });
  await ended;
  for (const { ready, service } of services) {
    see(`${service} metrics`, await (await fetch(`${ready.url}/metrics`)).text());
    see(`${service} readyz`, await (await fetch(`${ready.url}/readyz`)).text());
  }
  // What telemetry still holds is sent when the services stop.
  for (const service of [...services].reverse()) await service.stop(0);
  for (const body of collector.bodies) see("otlp", body.toString("latin1"));

  // It was a whole run: each kind of output is there, with what belongs in it.
  const of = (where: string) => seen.filter((it) => it.where === where).map((it) => it.text);
  expect(of("runtime log").join()).toContain('"invocation ended"');
  expect(of("registry log").join()).toContain("rpc received");
  expect(of("runtime metrics").join()).toContain("rspp_provider_outcomes_total{");
  expect(collector.spans.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["rspp.session", "rspp.turn", "rspp.invocation llm"]),
  );
  expect(of("event").length).toBeGreaterThan(10);
  expect(of("rpc error").length).toBeGreaterThan(6);
  expect(of("snapshot").length).toBeGreaterThan(0);
  expect(of("audit").join()).toContain("denied rspp.registry.v1.RegistryService/ListPipelines");
  expect(of("configuration problem")).toHaveLength(3);

  const secrets = [...Object.entries(planted), ...tokens.map((token) => ["session token", token] as const)];
  const leaks = secrets.flatMap(([name, secret]) =>
    seen.flatMap(({ where, text }) => (text.includes(secret) ? [`${name} in ${where}: ${text.slice(0, 300)}`] : [])),
  );
  expect(leaks).toEqual([]);
});
