/** Summaries as the contract has them. */
import { create } from "@bufbuild/protobuf";
import type { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import {
  SessionSummarySchema,
  type SessionSummary as SummaryMessage,
} from "@rspp/gen/rspp/replay/v1/timeline_service_pb";
import { levelNames } from "@rspp/wire/names";
import { latencyNames, type SessionSummary } from "./session-summary.ts";

/** @param summary as it was stored, perhaps by a later build: what is not known there is left out. */
export function summaryToWire(summary: Partial<SessionSummary>): SummaryMessage {
  const { pipeline, turns, invocations, tokens = null, audio, latencies = {} } = summary;
  const caller = audio?.caller_ms ?? null;
  const cost = summary.cost_micros ?? null;
  return create(SessionSummarySchema, {
    session: { tenantId: summary.tenant_id ?? "", sessionId: summary.session_id ?? "" },
    ...(pipeline === undefined || pipeline.name === "" ? {} : { pipeline }),
    startedWallMs: BigInt(summary.started_wall_ms ?? 0),
    endedWallMs: BigInt(summary.ended_wall_ms ?? 0),
    reason: summary.reason ?? "",
    complete: summary.complete ?? false,
    level: (levelNames.number(summary.recording_level ?? "") ?? 0) as RecordingLevel,
    turns: turns?.opened ?? 0,
    turnsCommitted: turns?.committed ?? 0,
    turnsAborted: turns?.aborted ?? 0,
    interruptions: summary.interruptions ?? 0,
    refusals: summary.refusals ?? 0,
    invocations: invocations?.attempts ?? 0,
    invocationsFailed: invocations?.failed ?? 0,
    ...(tokens === null ? {} : { inputTokens: BigInt(tokens.input), outputTokens: BigInt(tokens.output) }),
    ...(caller === null ? {} : { callerAudioMs: BigInt(caller) }),
    heardAudioMs: BigInt(audio?.heard_ms ?? 0),
    ...(cost === null ? {} : { costMicros: BigInt(cost) }),
    latencies: latencyNames.flatMap((name) => {
      const told = latencies[name];
      return told === undefined
        ? []
        : [{ name, turns: told.turns, p50Ms: told.p50_ms, p95Ms: told.p95_ms, maxMs: told.max_ms }];
    }),
  });
}
