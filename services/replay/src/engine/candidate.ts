/** Another pipeline version in the place of a recorded one (F-072): its graph, policy and texts, in the recorded session. */
import type { TextSpan } from "@rspp/kernel/event";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { bindProviders } from "@rspp/spec/bind-providers";
import type { CompiledPipeline } from "@rspp/spec/compiled";
import { sessionConfigOf } from "@rspp/spec/session-config";
import { sessionTexts } from "@rspp/spec/session-texts";
import { OWN_REFS_FROM } from "./rerun-cursor.ts";

export interface Candidate {
  readonly config: SessionConfig;
  readonly texts: ReadonlyMap<number, string>;
}

/** Texts of the configuration come below those that the run itself adds. */
const SPEC_REFS_FROM = OWN_REFS_FROM / 2;

/**
 * Seed, lease, variables, recording level and behaviours are the recorded session's: only what the version says changes.
 *
 * @param available providers that could serve; null: all that the version names.
 * @param kept recorded texts by ref: one that the version still has keeps its payload, so that equal plans stay equal.
 */
export function candidateOf(
  compiled: CompiledPipeline,
  recorded: SessionConfig,
  available: readonly string[] | null = null,
  kept: ReadonlyMap<number, string> | null = null,
): Candidate {
  const pipeline = available === null ? compiled : bindProviders(compiled, { available }).pipeline;
  const { texts, systemPrompt, spoken } = sessionTexts(pipeline);
  const known = recordedRefs(recorded, kept);
  const moved = (spans: readonly TextSpan[]): TextSpan[] =>
    spans.map((span) => ({ ...span, ref: known.get(texts[span.ref] ?? "") ?? SPEC_REFS_FROM + span.ref }));
  const own = sessionConfigOf(pipeline, {
    sessionId: recorded.sessionId,
    tenantId: recorded.tenantId,
    seed: recorded.seed,
    authority: recorded.authority,
    systemPrompt: moved(systemPrompt),
    ...(spoken === undefined
      ? {}
      : { spoken: Object.fromEntries(Object.entries(spoken).map(([name, spans]) => [name, moved(spans)])) }),
    recording: recorded.recording.ceiling,
    variables: recorded.variables,
    snapshots: { ...recorded.snapshots, pipeline: pipelineRef(pipeline), profile: pipeline.profile },
    debugEvents: recorded.debugEvents,
  });
  const { behaviours, snapshotEveryTurns, recording, turnsBefore, takeover } = recorded;
  return {
    config: {
      ...own,
      behaviours,
      snapshotEveryTurns,
      recording,
      ...(turnsBefore === undefined ? {} : { turnsBefore }),
      ...(takeover === undefined ? {} : { takeover }),
    },
    texts: new Map(Object.entries(texts).map(([ref, text]) => [SPEC_REFS_FROM + Number(ref), text])),
  };
}

/** Refs of the texts that the recorded configuration names, by content. */
function recordedRefs(
  { systemPrompt, spoken = {} }: SessionConfig,
  kept: Candidate["texts"] | null,
): Map<string, number> {
  const spans = [...systemPrompt, ...Object.values(spoken).flat()];
  return new Map(
    spans.flatMap(({ ref }) => {
      const text = kept?.get(ref);
      return text === undefined ? [] : [[text, ref] as const];
    }),
  );
}

function pipelineRef({ name, version, fingerprint }: CompiledPipeline): string {
  return `${name}@${version}#${fingerprint.slice(0, 12)}`;
}
