/** A registry as a process beside something that answers as Prometheus does: rollouts wait while the budget is spent. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { AuditService } from "@rspp/gen/rspp/registry/v1/access_service_pb";
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKind } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { expect, onTestFinished, test } from "vitest";
import { dataDir, refusal, spawnService, startService, stopService } from "./services-rig.ts";

const echo = readFileSync(join(import.meta.dirname, "../../pipelines/specs/echo.yaml"), "utf8");
const rollout = "schema: rspp/rollout/v1\nrollout: echo\nstable: 1\ncanary: {version: 2, percent: 10}\n";

test("NF-005 NF-030 a registry with slo_url refuses a canary while the budget is spent, and lets it pass with a reason", async () => {
  const prometheus = createServer((_request, response) => {
    response.end(JSON.stringify({ status: "success", data: { result: [{ metric: {}, value: [0, "1.5"] }] } }));
  });
  await new Promise<void>((done) => prometheus.listen(0, "127.0.0.1", done));
  const slo = `http://127.0.0.1:${(prometheus.address() as AddressInfo).port}`;
  const data = dataDir();
  const registry = await startService("registry", { args: ["--data", data.dir, "--slo-url", slo] });
  onTestFinished(async () => {
    await stopService(registry);
    prometheus.closeAllConnections();
    prometheus.close();
    data.remove();
  });
  const artifacts = registry.rpc.client(ArtifactService);
  const publish = (source: string, overrideFreeze = "") =>
    artifacts.publishArtifact({ tenantId: "acme", source: Buffer.from(source), author: "ada", overrideFreeze });
  for (const text of ["one", "two"]) {
    const source = Buffer.from(echo.replace(/^description: .*$/m, `description: ${text}`));
    await artifacts.publishArtifact({
      tenantId: "acme",
      kind: ArtifactKind.PIPELINE,
      source,
      keepActive: text === "two",
    });
  }
  expect(await refusal(publish(rollout))).toMatchObject({
    reason: ErrorReason.OUT_OF_ORDER,
    metadata: { problem: "rollout_frozen", error_budget_spent: "1.5" },
    remedy: expect.stringContaining("150 % of the error budget"),
  });
  const { activated, warnings } = await publish(rollout, "it fixes the outage");
  expect(activated).toBe(true);
  expect(warnings[0]?.violation?.message).toContain("overridden");
  const { records } = await registry.rpc.client(AuditService).listAudit({ tenantId: "acme", action: "publish" });
  const details = records.map(({ detailJson }) => JSON.parse(detailJson) as Record<string, unknown>);
  const override = { freeze_override: "it fixes the outage", error_budget_spent: 1.5 };
  expect(details).toContainEqual(expect.objectContaining(override));
});

test("NF-030 a slo_url that is none stops the start with what to write", async () => {
  const data = dataDir();
  onTestFinished(data.remove);
  const spawned = spawnService("registry", { args: ["--data", data.dir, "--port", "0", "--slo-url", "prometheus"] });
  expect((await spawned.ended).status).not.toBe(0);
  expect(spawned.errors()).toContain("Write it as http://host:9090");
});
