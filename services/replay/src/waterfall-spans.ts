import type { LateOutcome, TurnFacts } from "./waterfall-facts.ts";
import type { Span, TurnAnchors } from "./waterfall-types.ts";

/** What lasted in a turn, by its start. */
export function spansOf(found: TurnFacts, anchors: TurnAnchors): Span[] {
  const { evidence, signals, addendum } = found;
  const manifest = evidence?.manifest ?? null;
  const startNs = anchors.turn_open_emitted ?? signals[0]?.monoNs ?? 0;
  const closedNs = manifest?.closed?.monoNs ?? signals.find(({ signal }) => signal === "close")?.monoNs ?? null;
  const spans: Span[] = [
    { ...blank, kind: "turn", name: `turn ${found.turn}`, lane: "control", startNs, endNs: closedNs },
    ...invocationSpans(found),
    ...found.late.map(lateSpan),
  ];
  if (found.firstFrameNs !== null && found.lastVoicedNs !== null) {
    const spoken = { startNs: found.firstFrameNs, endNs: found.lastVoicedNs };
    spans.push({ ...blank, kind: "utterance", name: "caller speaks", ...spoken });
  }
  if (found.firstMediaNs !== null) {
    spans.push({ ...blank, kind: "output", name: "audio out", startNs: found.firstMediaNs, endNs: found.lastMediaNs });
  }
  const played = anchors.assistant_audio_playback_started;
  if (played !== null) {
    const over = signals.findLast(({ signal }) => /^playback_(?:completed|cancelled|lost)$/.test(signal));
    const endNs = over?.monoNs ?? addendum?.settledNs ?? null;
    spans.push({ ...blank, kind: "playback", name: "playback", startNs: played, endNs });
  }
  return spans.sort((a, b) => a.startNs - b.startNs);
}

const blank = {
  node: "",
  lane: "data",
  endNs: null,
  firstNs: null,
  outcome: "",
  attempt: 0,
} as const;

/** As sealed in the evidence; the journal adds when the first result came, and tells of a turn without evidence. */
function invocationSpans({ evidence, invocations }: TurnFacts): Span[] {
  const journaled = [...invocations.values()];
  const sealed = evidence?.manifest.invocations ?? [];
  if (sealed.length === 0) {
    return journaled.map(
      ({ node, modality, provider, attempt, tool, openedNs: startNs, endedNs: endNs, firstNs, outcome }) => {
        return {
          kind: "invocation",
          name: nameOf(modality, provider, tool),
          node,
          lane: "data",
          startNs,
          endNs,
          firstNs,
          outcome,
          attempt,
        };
      },
    );
  }
  return sealed.map(({ node, modality, provider, attempt, tool, openedNs: startNs, endedNs: endNs, outcome }) => {
    const alike = journaled.filter((one) => one.node === node && one.provider === provider && one.attempt === attempt);
    // A model that calls tools is asked again, by the same node and provider.
    const same = alike.find(({ openedNs }) => openedNs === startNs) ?? alike[0];
    const firstNs = same?.firstNs ?? null;
    const name = nameOf(modality, provider, tool);
    return { kind: "invocation", name, node, lane: "data", startNs, endNs, firstNs, outcome: outcome ?? "", attempt };
  });
}

/** Tools by their names; what they were given stands nowhere. */
function nameOf(modality: string, provider: string, tool: string | undefined): string {
  return tool === undefined ? `${modality} ${provider}` : `tool ${tool} (${provider})`;
}

function lateSpan({ node, tool, provider, openedNs, endedNs, outcome }: LateOutcome): Span {
  const name = `${nameOf("tool", provider, tool)}, which went on after its turn,`;
  return { ...blank, kind: "invocation", name, node, startNs: openedNs, endNs: endedNs, outcome, attempt: 1 };
}
