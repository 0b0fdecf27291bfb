/**
 * Canned reply: one sentence for whatever the node is given first in a turn, e.g. as the fallback of a language model
 * (F-133). `replies` are lines `reason: sentence`, `text` is for every other reason.
 */
import { emit } from "./flow.ts";
import type { Settings } from "./graph.ts";
import type { GraphRun, NodeRun } from "./state.ts";
import type { StepContext } from "./step-context.ts";
import { listSetting } from "./text-filter.ts";
import { literalText } from "./text-out.ts";

/** `reason: sentence`; null for a line that is none. */
export function parseReply(line: string): { reason: string; text: string } | null {
  const [, reason, text] = /^\s*([a-z][a-z0-9_]*)\s*:\s*(\S.*?)\s*$/su.exec(line) ?? [];
  return reason === undefined || text === undefined ? null : { reason, text };
}

/** What is said for a reason; "" for nothing. */
export function cannedText(settings: Settings, reason: string): string {
  const replies = listSetting(settings, "replies").flatMap((line) => parseReply(line) ?? []);
  const found = replies.find((reply) => reply.reason === reason);
  return found?.text ?? (typeof settings.text === "string" ? settings.text : "");
}

/** `partly`: the node it stands in for has said something already; a space parts the two. */
export function sayCanned(
  cx: StepContext,
  run: GraphRun,
  index: number,
  node: NodeRun,
  causeSeq: number,
  partly = false,
): void {
  if (node.ended) return;
  node.ended = true;
  const reason = node.standIn?.role === "stands_in" ? node.standIn.reason : "";
  const said = cannedText(cx.s.config.graph.nodes[index]?.settings ?? {}, reason);
  if (said !== "") {
    const text = partly ? ` ${said}` : said;
    const span = literalText(cx, run.turn, text);
    const body = { segment: 0, revision: 1, final: true, confidence: 1, language: "" } as const;
    emit(cx, run, index, "text", { type: "text", spans: [span], chars: text.length, ...body }, causeSeq);
  }
  emit(cx, run, index, "text", { type: "end" }, causeSeq);
}
