/** A waterfall in the terminal: per turn bars over time, latencies by the canonical anchors (kernel.md §10), words. */
import type { ControlMark, Said, Span, TurnLatencies, Waterfall, WaterfallTurn } from "@rspp/replay/waterfall-types";
import { originWords } from "../account.ts";
import { type Paint, padded, paint, printable, shortened } from "../output/style.ts";
import { countWords, msWords, timeWords } from "../output/words.ts";
import { axisRow, barRow, markRow, type Scale } from "./bars.ts";

export interface RenderOptions {
  /** Columns of the terminal. */
  readonly width: number;
  /** Sentences in place of bars. */
  readonly explain: boolean;
  /** List each control signal. */
  readonly signals: boolean;
}

const widthMin = 60;
const nameWidth = 26;
const timesWidth = 20;

const colours: Readonly<Record<Span["kind"], Paint>> = {
  turn: "bold",
  utterance: "cyan",
  invocation: "yellow",
  output: "blue",
  playback: "green",
};

const latencyNames: Readonly<Record<keyof TurnLatencies, string>> = {
  turn_open_ms: "proposal to open",
  first_output_ms: "open to first audio",
  voice_to_voice_ms: "voice to voice",
  cancel_fence_ms: "cancel to fence",
};

export function renderWaterfall(waterfall: Waterfall, options: RenderOptions): string[] {
  const width = Math.max(widthMin, options.width);
  const lines = [...head(waterfall)];
  for (const turn of waterfall.turns) lines.push("", ...renderTurn(turn, waterfall, { ...options, width }));
  if (options.signals && waterfall.signals.length > 0)
    lines.push("", paint("bold", "outside of turns"), ...signalLines(waterfall.signals, waterfall.originNs));
  if (waterfall.notes.length > 0)
    lines.push("", ...waterfall.notes.map((note) => `${paint("yellow", "note")}  ${note}`));
  return lines;
}

function head(waterfall: Waterfall): string[] {
  const { sessionId, pipeline, level, turns, originNs, endNs, basis, ended, startedWallMs, epochs } = waterfall;
  const parts = [
    pipeline,
    `recorded at ${level}`,
    countWords(turns.length, "turn"),
    msWords((endNs - originNs) / 1e6),
    epochs.length > 1 ? `epochs ${epochs.join(", ")}` : "",
    basis === "journal" ? "" : "from evidence alone: no journal is kept at L0",
    ended ? "" : "the end is not recorded",
  ].filter((part) => part !== "");
  return [`${paint("bold", sessionId)}  ${timeWords(startedWallMs)}`, paint("dim", parts.join(" · "))];
}

function renderTurn(turn: WaterfallTurn, waterfall: Waterfall, options: RenderOptions): string[] {
  const lines = [turnHead(turn)];
  if (options.explain) lines.push(...turn.explanation.map((sentence) => `  ${printable(sentence)}`));
  else {
    lines.push(...wordLines(turn, options.width));
    lines.push(...bars(turn, waterfall.originNs, options.width));
  }
  const latencies = latencyWords(turn.latencies);
  if (latencies !== "") lines.push(`  ${paint("dim", "latencies")}  ${latencies}`);
  if (options.signals) lines.push(...signalLines(turn.signals, waterfall.originNs));
  return lines;
}

function turnHead(turn: WaterfallTurn): string {
  const { terminal, reason, delivery, playedMs, evidenceComplete } = turn;
  const parts = [
    turn.origin === "" ? "" : originWords(turn.origin),
    terminal === "" ? paint("yellow", "not finished") : terminalWords(terminal, reason),
    deliveryWords(delivery, playedMs),
    evidenceComplete ? "" : paint("yellow", "evidence incomplete"),
  ].filter((part) => part !== "");
  return `${paint("bold", `turn ${turn.turn}`)}  ${parts.join(", ")}`;
}

function deliveryWords(delivery: string, playedMs: number): string {
  const played = playedMs < 0 ? "" : msWords(playedMs);
  if (delivery === "completed") return played === "" ? "played to the end" : `played to the end (${played})`;
  if (delivery === "cancelled") return played === "" ? "cut while it played" : `cut after ${played} of playback`;
  return delivery === "" ? "" : `delivery ${delivery}`;
}

function terminalWords(terminal: string, reason: string): string {
  return terminal === "abort" ? paint("red", `abort(${reason})`) : paint("green", terminal);
}

function wordLines(turn: WaterfallTurn, width: number): string[] {
  const room = Math.max(20, width - 14);
  const rows: [string, Said][] = [
    ["caller", turn.user],
    ["agent", turn.said],
    ["heard", turn.heard],
  ];
  return rows.flatMap(([who, said]) => {
    // Where all was heard it is not told twice.
    if (who === "heard" && said.text.trim() === turn.said.text.trim()) return [];
    const words = saidWords(said, room);
    return words === "" ? [] : [`  ${paint("dim", padded(who, 8))}  ${words}`];
  });
}

function saidWords({ state, text, chars }: Said, room: number): string {
  if (state === "told") return text.trim() === "" ? "" : `"${shortened(printable(text.trim()), room)}"`;
  if (state === "hidden") return paint("dim", chars > 0 ? `${countWords(chars, "character")}, text not kept` : "");
  return "";
}

function bars(turn: WaterfallTurn, originNs: number, width: number): string[] {
  const { spans, signals } = turn;
  if (spans.length === 0) return [];
  const ends = spans.map(({ endNs, startNs }) => endNs ?? startNs);
  const fromNs = Math.min(...spans.map(({ startNs }) => startNs));
  const scale: Scale = { fromNs, toNs: Math.max(fromNs + 1, ...ends), width: width - nameWidth - timesWidth - 6 };
  const rows = spans.map((span) => {
    const name = shortened(spanName(span), nameWidth);
    return `  ${padded(name, nameWidth)}  ${paint(colours[span.kind], barRow(span, scale))}  ${spanTimes(span, originNs)}`;
  });
  const margin = " ".repeat(nameWidth + 4);
  const cuts = signals.filter(({ signal }) => /^(?:barge_in|cancel|stop)$/.test(signal)).map(({ atNs }) => atNs);
  const cutRow = cuts.length === 0 ? [] : [`  ${padded("cut", nameWidth)}  ${paint("red", markRow(cuts, scale))}`];
  const axis = axisRow(scale, (ns) => msWords((ns - originNs) / 1e6));
  return [...rows, ...cutRow, `${margin}${paint("dim", axis)}`];
}

function spanName({ kind, name, node, attempt }: Span): string {
  const again = attempt > 1 ? ` (attempt ${attempt})` : "";
  if (kind === "invocation") return `${name}${again}`;
  if (name === "" || name === kind) return kind;
  return node === "" || name.includes(node) ? name : `${node} ${name}`;
}

/** `+1.24 s   87 ms  failed`. */
function spanTimes({ startNs, endNs, outcome }: Span, originNs: number): string {
  const start = `+${msWords((startNs - originNs) / 1e6)}`.padStart(9);
  const length = (endNs === null ? "open" : msWords((endNs - startNs) / 1e6)).padStart(8);
  const failed = outcome !== "" && outcome !== "ok" && outcome !== "success" && outcome !== "completed";
  return `${paint("dim", start)} ${length}${failed ? paint("red", ` ${outcome}`) : ""}`;
}

/** Every latency that is known, by its metric's meaning; "" when none is. */
export function latencyWords(latencies: TurnLatencies): string {
  return (Object.keys(latencyNames) as (keyof TurnLatencies)[])
    .flatMap((name) => {
      const ms = latencies[name];
      return ms === undefined ? [] : [`${latencyNames[name]} ${paint("bold", msWords(ms))}`];
    })
    .join(", ");
}

function signalLines(signals: readonly ControlMark[], originNs: number): string[] {
  return signals.map(({ atNs, signal, emitter, reason, node, detail }) => {
    const at = `+${msWords((atNs - originNs) / 1e6)}`.padStart(11);
    const more = [reason, node, detail].filter((part) => part !== "").join(", ");
    return `  ${paint("dim", at)}  ${padded(signal, 22)} ${paint("dim", padded(emitter, 12))} ${printable(more)}`.trimEnd();
  });
}
