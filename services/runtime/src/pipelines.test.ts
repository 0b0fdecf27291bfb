import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { rpcError } from "@rspp/rpc/errors";
import { route } from "@rspp/rpc/route";
import { parseOverrides } from "@rspp/spec/overrides";
import { sessionOverrides } from "@rspp/spec/session-overrides";
import { expect, test } from "vitest";
import type { ConfigLayers } from "./layers.ts";
import { createPipelines } from "./pipelines.ts";
import { away, peerOf } from "./testing/peers.ts";

const source = (name: string) => `schema: rspp/pipeline/v1
template: voice-assistant
name: ${name}
version: 9
providers:
  stt: {candidates: [sim/stt]}
  llm: {candidates: [sim/llm]}
  tts: {candidates: [sim/tts]}
`;

async function rig(max?: number, layers?: ConfigLayers) {
  const asked: string[] = [];
  const state = { away: false };
  const getPipeline = ({ tenantId, name, version }: { tenantId: string; name: string; version: number }) => {
    asked.push(`${tenantId}/${name}@${version}`);
    if (state.away) throw away("registry");
    if (name === "absent") throw rpcError(ErrorReason.NOT_FOUND, { domain: "registry" });
    const text = name === "broken" ? "schema: rspp/pipeline/v1\nname: broken\nversion: 1\nnodes: []\n" : source(name);
    const stored = { kind: 1, name, version, digest: new Uint8Array(32), author: "a" };
    return { version: stored, source: new TextEncoder().encode(text), sourceFormat: "yaml" };
  };
  const { connection } = await peerOf("registry", [route(RegistryService, { getPipeline })]);
  const pipelines = createPipelines({
    registry: connection,
    ...(max === undefined ? {} : { max }),
    ...(layers === undefined ? {} : { layers }),
  });
  return { asked, state, pipelines };
}

test("F-015 a version is fetched once, by those who ask at once as well, and bears the registry's number", async () => {
  const { asked, pipelines } = await rig();
  const [first, second] = await Promise.all([pipelines.get("acme", "desk@3"), pipelines.get("acme", "desk@3")]);
  expect(first.ok && second.ok && first.value === second.value).toBe(true);
  const third = await pipelines.get("acme", "desk@3");
  expect(asked).toEqual(["acme/desk@3"]);
  expect(third.ok && third.value).toMatchObject({ version: "3", graph: { pipelineVersion: "desk@3" } });
  await pipelines.get("other", "desk@3");
  expect(asked).toHaveLength(2);
});

test("F-121 a package whose bytes are not those the pipeline was published with is refused, with both digests", async () => {
  const digests = { pinned: "a".repeat(64), here: "b".repeat(64) };
  const getPipeline = ({ name, version }: { name: string; version: number }) => ({
    version: { kind: 1, name, version, digest: new Uint8Array(32), author: "a" },
    source: new TextEncoder().encode(source(name)),
    sourceFormat: "yaml",
    nodePackages: [{ name: "gain@1.0.0", sha256: digests.pinned }],
  });
  const { connection: registry } = await peerOf("registry", [route(RegistryService, { getPipeline })]);
  const opened = (digest: string) => {
    const gain = { scope: "either" as const, inputs: [], outputs: [], digest };
    return createPipelines({ registry, nodes: () => gain }).get("acme", "desk@1");
  };
  expect(await opened(digests.pinned)).toMatchObject({ ok: true });
  const refused = await opened(digests.here);
  expect(refused).toMatchObject({ ok: false, error: { reason: "pipeline_invalid" } });
  expect(refused.ok ? "" : refused.error.remedy).toMatch(
    /gain@1\.0\.0 of pipeline desk@1 has sha256 b{12}… here.*a{12}…/,
  );
});

test("with the registry away what is held serves on, and the rest is refused as a dependency", async () => {
  const { state, pipelines } = await rig();
  await pipelines.get("acme", "desk@1");
  state.away = true;
  expect((await pipelines.get("acme", "desk@1")).ok).toBe(true);
  const other = await pipelines.get("acme", "desk@2");
  expect(other).toMatchObject({ ok: false, error: { reason: "dependency_unavailable" } });
  expect(other.ok ? "" : other.error.remedy).toContain("desk@2 is not held here");
  state.away = false;
  expect((await pipelines.get("acme", "desk@2")).ok).toBe(true);
});

test("what is not published, does not compile or names no version is refused with what to do", async () => {
  const { asked, pipelines } = await rig();
  const reasonOf = async (version: string) => {
    const found = await pipelines.get("acme", version);
    return found.ok ? "" : `${found.error.reason}: ${found.error.remedy}`;
  };
  expect(await reasonOf("absent@1")).toMatch(/^not_found: pipeline absent@1 is not published: publish it/);
  expect(await reasonOf("broken@1")).toMatch(/^pipeline_invalid: pipeline broken@1 does not compile here/);
  expect(asked).toHaveLength(2);
  for (const version of ["desk", "desk@0", "Desk@1", "desk@newest", ""]) {
    expect(await reasonOf(version)).toMatch(/^not_found: the token names no pipeline as name@version/);
  }
  expect(asked).toHaveLength(2);
});

test("versions held are bounded: the one not asked for the longest goes", async () => {
  const { asked, pipelines } = await rig(2);
  for (const version of ["a@1", "b@1", "a@1", "c@1", "a@1", "b@1"]) await pipelines.get("acme", version);
  expect(asked).toEqual(["acme/a@1", "acme/b@1", "acme/c@1", "acme/b@1"]);
});

function layerOf(layer: string, name: string, body: string) {
  const read = parseOverrides(
    `schema: rspp/overrides/v1\nlayer: ${layer}\nname: ${name}\nversion: 2\n${body}`,
    `${name}.yaml`,
  );
  if (!read.ok) throw new Error(read.error[0]?.message);
  return read.value;
}

test("F-080 a tenant's layers are laid over what the registry gives, a session's over those, and only for them", async () => {
  const acme = layerOf("tenant", "acme", "policy: {barge_in: false, reconnect_ms: 4000}\n");
  const { asked, pipelines } = await rig(undefined, { of: (tenantId) => (tenantId === "acme" ? [acme] : []) });
  const own = sessionOverrides({ "policy.barge_in": true });
  if (!own.ok) throw new Error(own.error);
  const [mine, session, theirs] = [
    await pipelines.get("acme", "desk@3"),
    await pipelines.get("acme", "desk@3", own.value),
    await pipelines.get("other", "desk@3"),
  ];
  const policy = (found: typeof mine) => (found.ok ? found.value.policy : null);
  expect(policy(mine)).toMatchObject({ bargeIn: false, reconnectMs: 4000 });
  expect(policy(session)).toMatchObject({ bargeIn: true, reconnectMs: 4000 });
  expect(policy(theirs)).toMatchObject({ bargeIn: true, reconnectMs: 10_000 });
  expect(session.ok && session.value).toMatchObject({
    version: "3",
    graph: { pipelineVersion: "desk@3" },
    provenance: { "policy.bargeIn": "session", "policy.reconnectMs": "tenant/acme@2" },
  });
  expect(policy(await pipelines.get("acme", "desk@3"))).toMatchObject({ bargeIn: false });
  expect(asked).toEqual(["acme/desk@3", "other/desk@3"]);
});

test("F-080 a layer that does not fit is refused with its file, line and remedy", async () => {
  const acme = layerOf("tenant", "acme", "applies_to: [desk]\nnodes: {nobody: {settings: {a: 1}}}\n");
  const { pipelines } = await rig(undefined, { of: () => [acme] });
  const found = await pipelines.get("acme", "desk@3");
  expect(found.ok ? "" : found.error).toMatchObject({ reason: "pipeline_invalid" });
  expect(found.ok ? "" : found.error.remedy).toContain("acme.yaml:6 nodes.nobody: pipeline desk has no node");
});
