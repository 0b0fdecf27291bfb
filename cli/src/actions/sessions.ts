/** `rspp sessions`: the sessions of a platform with their status, or those recorded on this machine. */
import { RecordingLevelSchema } from "@rspp/gen/rspp/common/v1/lane_pb";
import { ArtifactKindSchema, type SessionStatus, VersionSourceSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { SessionStateSchema } from "@rspp/gen/rspp/runtime/v1/session_pb";
import type { SessionsOptions } from "../commands/sessions.ts";
import { valueOfWord, wordOf } from "../enum-words.ts";
import { CommandError, EXIT_OK, EXIT_UNREACHABLE } from "../errors.ts";
import { DATA_DEFAULT } from "../options.ts";
import { createPrinter } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { table } from "../output/table.ts";
import { agoWords, timeWords } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";
import { localSessions } from "../recordings.ts";

export async function sessions(options: SessionsOptions): Promise<number> {
  const json = options.json ?? false;
  if (options.local || options.data !== undefined) return localSessions({ data: options.data ?? DATA_DEFAULT, json });
  const printer = createPrinter(json);
  const states = (options.state ?? []).map((word) => valueOfWord(SessionStateSchema, word));
  const registry = connectTo("registry", options.registry, RegistryService, options);
  const { sessions: found, nextPageToken } = await registry
    .ask((client) => client.listSessionStatus({ tenantId: options.tenant, states, page: { size: options.limit } }))
    .catch(tellOfLocal);
  const rows = found.map(sessionData);
  printer.data({ sessions: rows, more: nextPageToken !== "" });
  if (rows.length === 0) printer.line("no sessions");
  else printer.lines(sessionTable(rows));
  if (nextPageToken !== "") printer.note(`there are more: raise --limit (${options.limit})`);
  return EXIT_OK;
}

/** Who ran `rspp demo` or `rspp run` looks for recordings, which need no platform. */
function tellOfLocal(error: unknown): never {
  if (!(error instanceof CommandError) || error.facts.status !== EXIT_UNREACHABLE) throw error;
  const remedy = `${error.facts.remedy}; recordings of this machine are listed by \`rspp sessions --local\``;
  throw new CommandError({ ...error.facts, remedy });
}

function sessionData(status: SessionStatus) {
  const { info, asOfWallMs, stale, decision, lostSinceWallMs, placementNumber, endReason } = status;
  return {
    session: info?.session?.sessionId ?? "",
    pipeline: `${info?.pipeline?.name}@${info?.pipeline?.version}`,
    state: wordOf(SessionStateSchema, info?.state),
    reconnecting: info?.reconnecting ?? false,
    degraded: info?.degraded ?? false,
    stale,
    turns: info?.turns ?? 0,
    open_turn: info?.openTurnNumber ?? 0,
    epoch: Number(info?.authorityEpoch ?? 0),
    instance: info?.instanceId ?? "",
    recording: wordOf(RecordingLevelSchema, info?.recordingLevel).toUpperCase(),
    started_wall_ms: Number(info?.startedWallMs ?? 0),
    as_of_wall_ms: Number(asOfWallMs),
    version_by: wordOf(VersionSourceSchema, decision?.source),
    rollout: decision?.rollout === undefined ? "" : `${decision.rollout.name}@${decision.rollout.version}`,
    in_force: (decision?.inForce ?? []).map(
      ({ kind, name, version }) => `${wordOf(ArtifactKindSchema, kind)}/${name}@${version}`,
    ),
    placement: placementNumber,
    lost_since_wall_ms: Number(lostSinceWallMs),
    end_reason: endReason,
  };
}

type SessionData = ReturnType<typeof sessionData>;

function sessionTable(rows: readonly SessionData[]): string[] {
  const now = Date.now();
  const columns = [
    { head: "SESSION" },
    { head: "STATE" },
    { head: "PIPELINE" },
    { head: "BY" },
    { head: "TURNS", right: true },
    { head: "STARTED" },
    { head: "RUNTIME" },
    { head: "REC" },
  ];
  const cells = rows.map((row) => [
    paint("bold", row.session),
    stateWords(row),
    row.pipeline,
    row.version_by.replace("_", " "),
    String(row.turns),
    row.started_wall_ms > 0 ? `${timeWords(row.started_wall_ms)} (${agoWords(row.started_wall_ms, now)})` : "not yet",
    row.placement > 1 ? `${row.instance} (${row.placement}.)` : row.instance,
    row.recording,
  ]);
  return table(columns, cells);
}

function stateWords(row: SessionData): string {
  const { state, reconnecting, degraded, stale, open_turn } = row;
  const asides = [
    open_turn > 0 ? `turn ${open_turn} open` : "",
    reconnecting ? "caller away" : "",
    degraded ? "degraded" : "",
    row.lost_since_wall_ms > 0 && state !== "ended" ? "runtime lost" : stale ? "not heard of lately" : "",
    row.end_reason,
  ].filter((word) => word !== "");
  const shown = state === "active" ? paint("green", state) : state === "ended" ? paint("dim", state) : state;
  return asides.length === 0 ? shown : `${shown} (${asides.join(", ")})`;
}
