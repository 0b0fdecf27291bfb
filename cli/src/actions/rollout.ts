/** `rspp rollout`: which new sessions get which version of a pipeline (F-093). */
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKind } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { ROLLOUT_SCHEMA } from "@rspp/spec/rollout/rollout-schema";
import type { RolloutOptions } from "../commands/rollout.ts";
import { EXIT_OK, usageError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { timeWords } from "../output/words.ts";
import { connectTo, type Peer } from "../platform-client/connect.ts";
import { pipelineName } from "../registry-view.ts";
import { userName } from "../user-name.ts";

type Registry = Peer<typeof ArtifactService>;

interface Rules {
  readonly name: string;
  readonly stable: number;
  readonly canary: { readonly version: number; readonly perTenThousand: number } | null;
  readonly tenants: Readonly<Record<string, number>>;
  readonly stickyBy: { readonly kind: string; readonly name?: string };
}

export async function rollout(action: string, pipeline: string | undefined, options: RolloutOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const registry = connectTo("registry", options.registry, ArtifactService, options);
  if (action === "list") return list(registry, options, printer);
  if (pipeline === undefined)
    throw usageError(`rollout ${action} needs a pipeline`, "name one; `rspp rollout list` shows them");
  const { name } = pipelineName(pipeline);
  if (action === "show") return show(registry, name, options, printer);
  if (action === "set") return set(registry, name, options, printer);
  if (action === "end") return end(registry, name, options, printer);
  throw usageError(`${action}: is nothing that can be done with a rollout`, "name one of list, show, set, end");
}

async function list(registry: Registry, { tenant: tenantId }: RolloutOptions, printer: Printer): Promise<number> {
  const { artifacts } = await registry.ask((client) =>
    client.listActiveArtifacts({ tenantId, kinds: [ArtifactKind.ROLLOUT] }),
  );
  const rows = artifacts.map(({ artifact, changedWallMs, changedBy, inherited }) => ({
    pipeline: artifact?.name ?? "",
    version: artifact?.version ?? 0,
    changed_wall_ms: Number(changedWallMs),
    changed_by: changedBy,
    inherited,
  }));
  printer.data({ rollouts: rows });
  if (rows.length === 0) printer.line("no rollout is in force: new sessions get the version in force");
  else {
    const columns = ["PIPELINE", "ROLLOUT", "SINCE", "BY", "FROM"].map((head) => ({ head }));
    const cells = rows.map((row) => [
      paint("bold", row.pipeline),
      String(row.version),
      timeWords(row.changed_wall_ms),
      row.changed_by,
      row.inherited ? "*" : tenantId,
    ]);
    printer.lines(table(columns, cells));
  }
  return EXIT_OK;
}

async function show(registry: Registry, name: string, options: RolloutOptions, printer: Printer): Promise<number> {
  const { tenant: tenantId } = options;
  const found = await registry.ask((client) => client.getArtifact({ tenantId, kind: ArtifactKind.ROLLOUT, name }));
  const { rollout: rules } = JSON.parse(new TextDecoder().decode(found.content)) as { rollout: Rules };
  const { stable, canary, tenants, stickyBy } = rules;
  const active = found.version?.active ?? false;
  const stickyWord = stickyBy.kind === "variable" ? `variable ${stickyBy.name}` : stickyBy.kind;
  printer.data({
    pipeline: name,
    version: found.version?.version ?? 0,
    active,
    tenant: found.tenantId,
    stable,
    canary: canary === null ? null : { version: canary.version, percent: canary.perTenThousand / 100 },
    tenants,
    sticky_by: stickyWord,
  });
  const share = canary === null ? 0 : canary.perTenThousand / 100;
  const rows = [
    ...Object.entries(tenants).map(([tenant, version]) => [`tenant ${tenant}`, String(version)]),
    ...(canary === null ? [] : [[`${share} % by ${stickyWord}`, String(canary.version)]]),
    [canary === null ? "all others" : `the other ${100 - share} %`, String(stable)],
  ];
  printer.lines(table([{ head: "SESSIONS" }, { head: `VERSION OF ${name}` }], rows));
  if (!active) printer.note("this rollout is not in force");
  return EXIT_OK;
}

async function set(registry: Registry, name: string, options: RolloutOptions, printer: Printer): Promise<number> {
  const { stable, canary, percent, stickyBy, tenant: tenantId, note } = options;
  if (stable === undefined) throw usageError("rollout set needs --stable", "name the version of all others");
  if ((canary === undefined) !== (percent === undefined))
    throw usageError("--canary and --percent go together", "give both, or neither");
  const document = {
    schema: ROLLOUT_SCHEMA,
    rollout: name,
    stable,
    ...(canary === undefined ? {} : { canary: { version: canary, percent } }),
    ...(options.for === undefined ? {} : { tenants: tenantsOf(options.for) }),
    ...(stickyBy === undefined ? {} : { sticky_by: `variable ${stickyBy}` }),
  };
  const source = new TextEncoder().encode(`${JSON.stringify(document, null, 2)}\n`);
  const { version, unchanged, warnings } = await registry.ask((client) =>
    client.publishArtifact({
      tenantId,
      kind: ArtifactKind.ROLLOUT,
      source,
      sourceFormat: "json",
      note,
      author: userName(),
      overrideFreeze: options.overrideFreeze ?? "",
    }),
  );
  for (const { violation, remedy } of warnings) printer.note(`${violation?.message ?? "a warning"}: ${remedy}`);
  printer.data({
    pipeline: name,
    version: version?.version ?? 0,
    unchanged,
    warnings: warnings.map(({ violation }) => violation?.message ?? ""),
  });
  const word = unchanged ? paint("dim", "unchanged") : paint("green", "in force");
  printer.line(`${word} rollout ${version?.version ?? 0} of ${paint("bold", name)}`);
  return EXIT_OK;
}

function tenantsOf(words: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    words.map((word) => {
      const [, tenant = "", version] = /^([^=]{1,64})=(\d{1,9})$/.exec(word) ?? [];
      if (version === undefined) throw usageError(`--for ${word}: is no tenant=version`, "e.g. --for acme=4");
      return [tenant, Number(version)];
    }),
  );
}

async function end(registry: Registry, name: string, options: RolloutOptions, printer: Printer): Promise<number> {
  const { tenant: tenantId, reason } = options;
  const ask = { tenantId, kind: ArtifactKind.ROLLOUT, name, actor: userName(), reason };
  const { fromVersion } = await registry.ask((client) => client.withdrawArtifact(ask));
  printer.data({ pipeline: name, from_version: fromVersion });
  printer.line(
    `${paint("green", "ended")} rollout ${fromVersion} of ${paint("bold", name)}: new sessions get the version in force`,
  );
  return EXIT_OK;
}
