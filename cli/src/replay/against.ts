/** The other pipeline version of a replay: a spec on this machine, or one that is published. */
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { type Candidate, candidateOf } from "@rspp/replay/engine/candidate";
import type { ReplaySource } from "@rspp/replay/engine/source";
import { formatProblems } from "@rspp/spec/problem";
import { InputError } from "../errors.ts";
import { catalogueFrom } from "../node-packages.ts";
import { connectTo } from "../platform-client/connect.ts";
import { pipelineName } from "../registry-view.ts";
import { checkFile, readSpecFile, type SpecFile } from "../spec-file.ts";

export interface AgainstOptions {
  readonly against?: string;
  readonly available?: string[];
  readonly nodes?: string[];
  readonly registry: string;
  readonly tenant: string;
  readonly token?: string;
  readonly json?: boolean;
}

/** @throws InputError, CommandError for a version that is not there or does not compile. */
export async function candidateFor(
  options: AgainstOptions,
  { config, texts }: ReplaySource,
): Promise<Candidate | null> {
  const { against, available } = options;
  if (against === undefined) return null;
  const file = /[./]/.test(against) ? await readSpecFile(against) : await published(against, options);
  const checked = checkFile(file, [], await catalogueFrom(options.nodes));
  if (!checked.ok) throw new InputError(formatProblems(checked.problems, file.source));
  return candidateOf(checked.compiled, config, available ?? null, texts);
}

async function published(wanted: string, options: AgainstOptions): Promise<SpecFile> {
  const registry = connectTo("registry", options.registry, RegistryService, options);
  const { source } = await registry.ask((client) =>
    client.getPipeline({ tenantId: options.tenant, ...pipelineName(wanted) }),
  );
  return { path: wanted, source: new TextDecoder().decode(source), format: "yaml" };
}
