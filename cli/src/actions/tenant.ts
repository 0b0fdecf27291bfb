/** `rspp tenant`: what a tenant may use, and which versions are in force for it (F-050, F-102). */
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKindSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import type { TenantConfig } from "@rspp/spec/tenant/tenant-config";
import type { TenantOptions } from "../commands/tenant.ts";
import { wordOf } from "../enum-words.ts";
import { EXIT_OK } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { facts, table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";

export async function tenant(options: TenantOptions): Promise<number> {
  const { tenant: tenantId } = options;
  const printer = createPrinter(options.json ?? false);
  const registry = connectTo("registry", options.registry, ArtifactService, options);
  const { artifacts, tenantConfig } = await registry.ask((client) => client.listActiveArtifacts({ tenantId }));
  const inForce = artifacts.map(({ artifact, changedWallMs, changedBy, inherited }) => ({
    kind: wordOf(ArtifactKindSchema, artifact?.kind),
    name: artifact?.name ?? "",
    version: artifact?.version ?? 0,
    tenant: artifact?.tenantId ?? "",
    inherited,
    changed_wall_ms: Number(changedWallMs),
    changed_by: changedBy,
  }));
  const limits = JSON.parse(tenantConfig || "{}") as TenantConfig;
  printer.data({ tenant: tenantId, limits, in_force: inForce });
  const rows = limitRows(limits);
  printer.lines(rows.length > 0 ? facts(rows) : ["no quotas and no rates: nothing limits this tenant"]);
  if (inForce.length > 0) {
    printer.line("");
    const columns = ["KIND", "NAME", "FROM", "SINCE", "BY"].map((head) => ({ head }));
    const cells = inForce.map((one) => [
      one.kind,
      paint("bold", `${one.name}@${one.version}`),
      one.tenant,
      timeWords(one.changed_wall_ms),
      one.changed_by,
    ]);
    printer.lines(table(columns, cells));
  }
  return EXIT_OK;
}

function limitRows(limits: TenantConfig): (readonly [string, string])[] {
  const { webhooks = [], ...parts } = limits;
  const hooks = webhooks.map(({ url, events }, i) => [`webhooks.${i + 1}`, `${url} (${events.join(", ")})`] as const);
  const rows = Object.entries(parts).flatMap(([part, fields]) =>
    Object.entries(fields ?? {}).map(([name, value]) => [`${part}.${name}`, String(value)] as const),
  );
  return [...rows, ...hooks];
}
