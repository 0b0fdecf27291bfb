/** An empty store is given the templates, so that one can talk at once. */
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import type { RpcConnection } from "@rspp/rpc/clients";
import { localTenant } from "./tell.ts";

const specs = new URL("../../../pipelines/specs/", import.meta.url);

/** @returns what was published, as `name@version`; nothing where the tenant has a pipeline. */
export async function publishTemplates(connection: RpcConnection): Promise<string[]> {
  const registry = connection.client(RegistryService);
  const { versions } = await registry.listPipelines({ tenantId: localTenant, page: { size: 1 } });
  if (versions.length > 0) return [];
  const files = (await readdir(fileURLToPath(specs))).filter((name) => name.endsWith(".yaml")).sort();
  const published: string[] = [];
  for (const file of files) {
    const source = new Uint8Array(await readFile(new URL(file, specs)));
    const ask = { tenantId: localTenant, source, sourceFormat: "yaml", author: "rspp up", note: "template" };
    const { version } = await registry.publishPipeline(ask);
    if (version !== undefined) published.push(`${version.name}@${version.version}`);
  }
  return published;
}
