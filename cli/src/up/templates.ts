/** An empty store is given the templates, so that one can talk at once. */
import { readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { type RpcConnection, rpcErrorOf } from "@rspp/rpc/clients";
import { checkFile, readSpecFile, selfContained } from "../spec-file.ts";
import { startFailure } from "./failure.ts";
import { localTenant, note } from "./tell.ts";

const specs = new URL("../../../pipelines/specs/", import.meta.url);

/** @returns what was published, as `name@version`; nothing where the tenant has a pipeline. @throws CommandError. */
export async function publishTemplates(connection: RpcConnection): Promise<string[]> {
  try {
    return await publishAll(connection);
  } catch (failure) {
    throw startFailure("the registry", rpcErrorOf(failure, "registry"));
  }
}

/** With the modules beside it: the registry reads no files. */
async function selfContainedSource(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = await readSpecFile(path);
  return new TextEncoder().encode(selfContained(file, checkFile(file, [])).source);
}

async function publishAll(connection: RpcConnection): Promise<string[]> {
  const registry = connection.client(RegistryService);
  const { versions } = await registry.listPipelines({ tenantId: localTenant, page: { size: 1 } });
  if (versions.length > 0) return [];
  const files = (await readdir(fileURLToPath(specs))).filter((name) => name.endsWith(".yaml")).sort();
  const published: string[] = [];
  for (const file of files) {
    const source = await selfContainedSource(fileURLToPath(new URL(file, specs)));
    const ask = { tenantId: localTenant, source, sourceFormat: "yaml", author: "rspp up", note: "template" };
    try {
      const { version } = await registry.publishPipeline(ask);
      if (version !== undefined) published.push(`${version.name}@${version.version}`);
    } catch (failure) {
      const { reason, message } = rpcErrorOf(failure, "registry");
      if (reason !== ErrorReason.PIPELINE_INVALID) throw failure;
      // A template somebody has changed keeps no platform from starting.
      note(`${file} is not published: ${message}`);
    }
  }
  return published;
}
