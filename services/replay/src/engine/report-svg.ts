/** One run's turn as a waterfall in SVG. Both runs of a report share a scale, so that bars can be compared by eye. */
import type { RunTimeline, RunTurn } from "./run-timeline.ts";

export interface Bar {
  name: string;
  kind: "turn" | "caller" | "call" | "output" | "playback";
  startNs: number;
  endNs: number;
  /** First result within it; null for none. */
  firstNs: number | null;
  /** Node whose divergences mark it. */
  node: string;
}

const ROW = 22;
const LABEL = 150;
const WIDTH = 560;

export function barsOf(turn: RunTurn, timeline: RunTimeline): Bar[] {
  const startNs = turn.openNs ?? timeline.startNs;
  const endNs = turn.closeNs ?? timeline.endNs;
  const { lastVoiced, firstOutput, playback } = turn.anchors;
  const bars: Bar[] = [{ name: `turn ${turn.turn}`, kind: "turn", startNs, endNs, firstNs: null, node: "" }];
  if (lastVoiced !== null && lastVoiced < startNs)
    bars.push({
      name: "end of speech → open",
      kind: "caller",
      startNs: lastVoiced,
      endNs: startNs,
      firstNs: null,
      node: "",
    });
  for (const call of turn.calls)
    bars.push({
      name: `${call.node} ${call.tool || call.provider}`,
      kind: "call",
      startNs: call.openedNs,
      endNs: call.endedNs ?? endNs,
      firstNs: call.firstNs,
      node: call.node,
    });
  if (firstOutput !== null) {
    const lasts = Math.max(0, turn.audioUs) * 1_000;
    bars.push({
      name: "audio out",
      kind: "output",
      startNs: firstOutput,
      endNs: firstOutput + lasts,
      firstNs: null,
      node: "",
    });
  }
  if (playback !== null) {
    const lasts = Math.max(0, turn.playedUs) * 1_000;
    bars.push({ name: "heard", kind: "playback", startNs: playback, endNs: playback + lasts, firstNs: null, node: "" });
  }
  return bars;
}

export interface Scale {
  /** Instant at the left edge, relative to the turn's open, and length; nanoseconds. */
  readonly fromNs: number;
  readonly spanNs: number;
}

/** A scale on which both turns fit, zero where each opened. */
export function scaleOf(pairs: readonly { bars: readonly Bar[]; openNs: number }[]): Scale {
  let fromNs = 0;
  let toNs = 1e6;
  for (const { bars, openNs } of pairs)
    for (const { startNs, endNs } of bars) {
      fromNs = Math.min(fromNs, startNs - openNs);
      toNs = Math.max(toNs, endNs - openNs);
    }
  return { fromNs, spanNs: toNs - fromNs };
}

/** @param marked nodes that diverge; `""` marks what belongs to none. */
export function waterfallSvg(
  bars: readonly Bar[],
  openNs: number,
  scale: Scale,
  marked: ReadonlySet<string>,
  title: string,
): string {
  const height = ROW * (bars.length + 1) + 6;
  const x = (ns: number): number => LABEL + ((ns - openNs - scale.fromNs) / scale.spanNs) * (WIDTH - LABEL - 60);
  const rows = bars.map((bar, i) => {
    const y = ROW * i + 4;
    const left = x(bar.startNs);
    const width = Math.max(2, x(bar.endNs) - left);
    const ms = Math.round((bar.endNs - bar.startNs) / 1e6);
    const first =
      bar.firstNs === null
        ? ""
        : `<line class="first" x1="${n(x(bar.firstNs))}" x2="${n(x(bar.firstNs))}" y1="${y}" y2="${y + 14}"/>`;
    const mark = marked.has(bar.node) && bar.node !== "" ? " differs" : "";
    const told = `${bar.name}: ${ms} ms${bar.firstNs === null ? "" : `, first result after ${Math.round((bar.firstNs - bar.startNs) / 1e6)} ms`}`;
    return `<g><title>${escapeHtml(told)}</title><text class="name${mark}" x="0" y="${y + 11}">${escapeHtml(short(bar.name))}</text><rect class="${bar.kind}${mark}" x="${n(left)}" y="${y}" width="${n(width)}" height="14" rx="3"/>${first}<text class="ms" x="${n(left + width + 4)}" y="${y + 11}">${ms} ms</text></g>`;
  });
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">${axis(scale, height)}${rows.join("")}</svg>`;
}

function axis(scale: Scale, height: number): string {
  const stepMs =
    [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000].find((s) => scale.spanNs / 1e6 / s <= 7) ??
    300_000;
  const ticks: string[] = [];
  for (let t = Math.ceil(scale.fromNs / 1e6 / stepMs) * stepMs; t * 1e6 <= scale.fromNs + scale.spanNs; t += stepMs) {
    const at = n(LABEL + ((t * 1e6 - scale.fromNs) / scale.spanNs) * (WIDTH - LABEL - 60));
    ticks.push(
      `<line class="tick${t === 0 ? " zero" : ""}" x1="${at}" x2="${at}" y1="0" y2="${height - ROW}"/><text class="axis" x="${at}" y="${height - 8}">${t} ms</text>`,
    );
  }
  return ticks.join("");
}

const n = (value: number): string => value.toFixed(1);
const short = (name: string): string => (name.length > 24 ? `${name.slice(0, 23)}…` : name);

export function escapeHtml(text: string): string {
  const named: Readonly<Record<string, string>> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (c) => named[c] ?? c);
}
