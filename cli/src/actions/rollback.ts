/** `rspp rollback`: an older version in force again, or none (F-100, F-102). */
import { ArtifactService } from "@rspp/gen/rspp/registry/v1/artifact_service_pb";
import { ArtifactKindSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import type { RollbackOptions } from "../commands/rollback.ts";
import { valueOfWord } from "../enum-words.ts";
import { EXIT_OK, usageError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { connectTo } from "../platform-client/connect.ts";
import { pipelineName, versionData } from "../registry-view.ts";
import { userName } from "../user-name.ts";

export async function rollback(text: string, options: RollbackOptions): Promise<number> {
  const { kind: word, to, reason, tenant: tenantId } = options;
  const { name, version: named } = pipelineName(text);
  if (options.withdraw && (to !== undefined || named > 0))
    throw usageError("--withdraw puts no version in force", "leave out the version, or --withdraw");
  if (to !== undefined && named > 0 && to !== named)
    throw usageError(`${text} and --to ${to} name two versions`, "leave one of them out");
  const printer = createPrinter(options.json ?? false);
  const registry = connectTo("registry", options.registry, ArtifactService, options);
  const kind = valueOfWord(ArtifactKindSchema, word);
  const ask = { tenantId, kind, name, actor: userName(), reason };
  if (options.withdraw) {
    const { fromVersion } = await registry.ask((client) => client.withdrawArtifact(ask));
    printer.data({ kind: word, name, from_version: fromVersion, version: 0 });
    printer.line(`${paint("green", "withdrawn")} ${word} ${paint("bold", `${name}@${fromVersion}`)}`);
    return EXIT_OK;
  }
  const { version, fromVersion, rolloutWithdrawn } = await registry.ask((client) =>
    client.rollbackArtifact({ ...ask, version: to ?? named }),
  );
  if (version === undefined) return EXIT_OK;
  const data = versionData(version);
  printer.data({ kind: word, ...data, from_version: fromVersion, rollout_withdrawn: rolloutWithdrawn });
  const before = fromVersion > 0 && fromVersion !== version.version ? `, instead of ${fromVersion}` : "";
  printer.line(`${paint("green", "in force")} ${word} ${paint("bold", data.pipeline)}${before}`);
  if (rolloutWithdrawn) printer.line(paint("dim", "its rollout was withdrawn: it decided otherwise"));
  return EXIT_OK;
}
