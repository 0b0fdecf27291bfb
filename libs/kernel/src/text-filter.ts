/** Filter (F-010): drops text by its length, words, language or finality; what it drops is counted. */
import type { KernelEvent, TextBody, TextSpan } from "./event.ts";
import { emit } from "./flow.ts";
import type { Settings } from "./graph.ts";
import type { ChunkText } from "./input.ts";
import { type GraphRun, type NodeRun, numberSetting } from "./state.ts";
import { ask, type StepContext } from "./step-context.ts";
import { countDropped, emitText } from "./text-out.ts";

const DROPPED = "filter_dropped";
const NO_SETTINGS: Settings = Object.freeze({});

export function listSetting(settings: Settings, name: string): readonly string[] {
  const value = settings[name];
  return Array.isArray(value) ? value : [];
}

/** `en-US` is of the language `en`; text of no known language is of any. */
export function languageAmong(language: string, known: readonly string[]): boolean {
  const lower = language.toLowerCase();
  const primary = lower.split("-")[0] ?? "";
  return known.some((one) => one.toLowerCase() === lower || one.toLowerCase() === primary);
}

type Words = Pick<TextBody, "chars" | "final" | "language">;

function passes(cx: StepContext, settings: Settings, text: Words, spans: readonly TextSpan[]): boolean {
  if (settings.final_only === true && !text.final) return false;
  if (text.chars < numberSetting(settings, "min_chars", 0)) return false;
  const languages = listSetting(settings, "languages");
  if (languages.length > 0 && text.language !== "" && !languageAmong(text.language, languages)) return false;
  const dropWords = listSetting(settings, "drop_words");
  if (dropWords.length > 0 && ask(cx, { fn: "has_words", spans, words: dropWords }) === true) return false;
  const keepWords = listSetting(settings, "keep_words");
  return keepWords.length === 0 || ask(cx, { fn: "has_words", spans, words: keepWords }) === true;
}

export function onFilterText(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  event: KernelEvent,
  body: TextBody,
): void {
  const settings = cx.s.config.graph.nodes[index]?.settings ?? NO_SETTINGS;
  // Of a session: what does not pass was turned away at the recogniser, see `earPasses`.
  if (run.turn === 0 || passes(cx, settings, body, body.spans)) emitText(cx, run, index, body, event);
  else countDropped(cx, run, index, node, DROPPED);
}

export function onFilterAudio(cx: StepContext, run: GraphRun, index: number, event: KernelEvent): void {
  emit(cx, run, index, "out", event.body, event.seq);
}

/**
 * Whether a transcript passes the filters between recogniser and endpointing. Asked as it comes in, since the utterance may
 * end, and its words become a turn, within the same step.
 */
export function earPasses(cx: StepContext, chunk: ChunkText): boolean {
  const spans: TextSpan[] = [{ ref: chunk.payload.ref, from: 0, to: chunk.chars }];
  for (const index of cx.s.topology.words?.ears ?? []) {
    const settings = cx.s.config.graph.nodes[index]?.settings ?? NO_SETTINGS;
    if (passes(cx, settings, chunk, spans)) continue;
    const node = cx.s.run.nodes[index];
    if (node !== null && node !== undefined) countDropped(cx, cx.s.run, index, node, DROPPED);
    return false;
  }
  return true;
}
