/** NF-007: the chart renders, Kubernetes takes what it renders, and the services take what it sets. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ConfigFields } from "@rspp/host/config-fields";
import { leaseDefinition } from "@rspp/lease/definition";
import { gatewayDefinition } from "@rspp/provider-gateway/definition";
import { registryDefinition } from "@rspp/registry/definition";
import { replayDefinition } from "@rspp/replay/definition";
import { createRuntimeDefinition } from "@rspp/runtime/definition";
import { createLiveKitDefinition } from "@rspp/transport-livekit/definition";
import { createTelephonyDefinition } from "@rspp/transport-telephony/definition";
import { createWebSocketDefinition } from "@rspp/transport-websocket/definition";
import { afterAll, describe, expect, test } from "vitest";
import { parseAllDocuments, stringify } from "yaml";
import { root } from "../polyglot/tools.ts";
import { hasTools, refusals, render } from "./tools.ts";

// biome-ignore lint/suspicious/noExplicitAny: manifests are whatever YAML says; the schemas have checked them.
type Manifest = any;

const fieldsOf: Record<string, ConfigFields> = Object.fromEntries(
  [
    registryDefinition,
    leaseDefinition,
    replayDefinition,
    gatewayDefinition(),
    createRuntimeDefinition({ watchdog: false, providers: async () => ({}) as never }),
    createWebSocketDefinition(),
    createTelephonyDefinition(),
    createLiveKitDefinition(),
  ].map(({ service, fields }) => [service, fields as ConfigFields]),
);

const dir = mkdtempSync(join(tmpdir(), "rspp-chart-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
function valuesFile(values: object): string {
  files += 1;
  const path = join(dir, `values-${files}.yaml`);
  writeFileSync(path, stringify(values));
  return path;
}

async function manifests(values?: object): Promise<{ text: string; file: string; all: Manifest[] }> {
  const text = await render(...(values === undefined ? [] : [valuesFile(values)]));
  const file = join(dir, `out-${files}.yaml`);
  writeFileSync(file, text);
  return { text, file, all: parseAllDocuments(text).map((document) => document.toJS()) };
}

const workloads = (all: Manifest[]): Manifest[] => all.filter(({ kind }) => /^(?:Deployment|StatefulSet)$/.test(kind));
const serviceOf = ({ spec }: Manifest): string => spec.template.spec.containers[0].name;
const mtls = {
  tls: { enabled: true, certManager: { enabled: true, issuer: { name: "internal", kind: "ClusterIssuer" } } },
  ingress: { enabled: true, host: "voice.example.com", tlsSecret: "voice-tls" },
  persistence: { spool: { enabled: true, size: "5Gi", storageClass: "fast" } },
  providers: { secret: "vendors" },
  networkPolicy: { enabled: false },
  transportLivekit: {
    enabled: true,
    env: { RSPP_LIVEKIT_URL: "wss://rooms.example.com", RSPP_LIVEKIT_API_KEY: "key" },
  },
  registry: { autoscaling: { enabled: true, min: 2, max: 5, metric: "rspp_rpc_seconds_count", average: "100" } },
};

describe.skipIf(!(await hasTools()))("NF-007 the Helm chart", () => {
  test("NF-007 renders with its defaults and with everything turned on, and Kubernetes' schemas take all of it", async () => {
    const [plain, whole] = [await manifests(), await manifests(mtls)];
    expect(await refusals(plain.file)).toEqual([]);
    // A Certificate is of cert-manager, whose schema is not Kubernetes' own.
    const own = whole.all.filter(({ apiVersion }) => !apiVersion.startsWith("cert-manager.io/"));
    const file = join(dir, "own.yaml");
    writeFileSync(file, own.map((manifest) => stringify(manifest)).join("---\n"));
    expect(await refusals(file)).toEqual([]);
    writeFileSync(file, stringify({ ...own[0], spec: { ...own[0].spec, replcas: 2 } }));
    expect((await refusals(file)).join()).toMatch(/replcas/);
  });

  test("NF-007 the manifests for those without Helm are what it renders", async () => {
    const path = join(root, "deploy/manifests/rspp.yaml");
    const { text } = await manifests();
    if (process.env.UPDATE_MANIFESTS === "1") writeFileSync(path, text);
    expect(readFileSync(path, "utf8"), "run UPDATE_MANIFESTS=1 npx vitest run test/deploy/chart.test.ts").toBe(text);
  });

  test("NF-015 it sets nothing that a service does not have, and a bad value is refused by its path", async () => {
    for (const values of [undefined, mtls]) {
      for (const workload of workloads((await manifests(values)).all)) {
        const fields = fieldsOf[serviceOf(workload)];
        if (fields === undefined) throw new Error(serviceOf(workload));
        const names: string[] = workload.spec.template.spec.containers[0].env.map(({ name }: Manifest) => name);
        const keys = names.filter((name) => name.startsWith("RSPP_") && name !== "RSPP_SERVICE");
        expect(keys.filter((name) => !(name.slice(5).toLowerCase() in fields))).toEqual([]);
      }
    }
    await expect(render(valuesFile({ drainSeconds: "long" }))).rejects.toThrow(/drainSeconds/);
    await expect(render(valuesFile({ runtime: { replica: 2 } }))).rejects.toThrow(/runtime.*replica|replica.*runtime/s);
  });

  test("F-108 F-106 each service is its own workload with probes, a budget of disruptions, and more time to end than its drain", async () => {
    const { all } = await manifests(mtls);
    expect(workloads(all).map(serviceOf).sort()).toEqual(Object.keys(fieldsOf).sort());
    for (const workload of workloads(all)) {
      const { spec } = workload.spec.template;
      const [{ env, livenessProbe, readinessProbe, securityContext }] = spec.containers;
      const graceMs = Number(env.find(({ name }: Manifest) => name === "RSPP_STOP_GRACE_MS").value);
      expect(spec.terminationGracePeriodSeconds * 1000).toBeGreaterThan(graceMs + 5_000);
      // Plain HTTP on a port of its own: a kubelet has no certificate to show.
      expect([livenessProbe.httpGet, readinessProbe.httpGet]).toEqual([
        { path: "/livez", port: "probes" },
        { path: "/readyz", port: "probes" },
      ]);
      expect(readinessProbe.failureThreshold).toBeGreaterThan(1);
      expect(securityContext).toMatchObject({ readOnlyRootFilesystem: true, allowPrivilegeEscalation: false });
      expect(spec.topologySpreadConstraints.map(({ topologyKey }: Manifest) => topologyKey)).toContain(
        "topology.kubernetes.io/zone",
      );
      const budget = all.find(
        ({ kind, metadata }) => kind === "PodDisruptionBudget" && metadata.name === workload.metadata.name,
      );
      expect(budget?.spec.selector).toEqual(workload.spec.selector);
    }
  });

  test("F-104 autoscaling follows metrics that services export", async () => {
    const page = readFileSync(join(root, "docs/metrics.md"), "utf8");
    const { all } = await manifests(mtls);
    const scalers = all.filter(({ kind }) => kind === "HorizontalPodAutoscaler");
    expect(scalers.map(({ metadata }) => metadata.name)).toEqual(["rspp-registry", "rspp-runtime"]);
    for (const { spec } of scalers) {
      const { name } = spec.metrics[0].pods.metric;
      expect(page).toContain(`\`${name.replace(/_(?:count|sum|bucket)$/, "")}\``);
      // Who scales is not also told a number of replicas.
      const workload = all.find(
        ({ kind, metadata }) => kind === spec.scaleTargetRef.kind && metadata.name === spec.scaleTargetRef.name,
      );
      expect(workload.spec.replicas).toBeUndefined();
    }
  });

  test("F-061 F-120 secrets are references to what is there, and mTLS reaches every service by its name", async () => {
    const { all, text } = await manifests(mtls);
    expect(all.filter(({ kind }) => kind === "Secret")).toEqual([]);
    for (const workload of workloads(all)) {
      const { env } = workload.spec.template.spec.containers[0];
      const value = (key: string): string => env.find(({ name }: Manifest) => name === key)?.value;
      expect(value("RSPP_SERVICE_TOKEN")).toMatch(/^file:\/etc\/rspp\//);
      expect(value("RSPP_TLS_KEY")).toMatch(/^file:\/etc\/rspp\//);
      for (const peer of ["REGISTRY", "LEASE", "GATEWAY", "REPLAY"])
        expect(value(`RSPP_${peer}`) ?? "https:").toMatch(/^https:/);
    }
    const [certificate] = all.filter(({ kind }) => kind === "Certificate");
    const called = [...text.matchAll(/https:\/\/([a-z.-]+):\d+/g)].map(([, host]) => host);
    for (const host of called) expect(certificate.spec.dnsNames).toContain(host);
    expect(certificate.spec.dnsNames).toContain("*.rspp-runtime.rspp.svc.cluster.local");
  });
});
