import { describe, expect, test } from "vitest";
import { diffTimelines } from "./diff.ts";
import { reportHtml } from "./report-html.ts";
import { reportMarkdown } from "./report-markdown.ts";
import { RUN_TIMELINE_SCHEMA, type RunTimeline, turnCreate } from "./run-timeline.ts";

const MS = 1e6;

function timeline(llmMs: number, text: string): RunTimeline {
  const turn = { ...turnCreate(1), openNs: 100 * MS, closeNs: 2_000 * MS, terminal: "commit", audioUs: 800_000 };
  const rest = { modality: "llm", provider: "sim/llm", attempt: 1, tool: "", outcome: "success" };
  turn.output = { text, chars: text.length };
  turn.anchors = { ...turn.anchors, firstOutput: (100 + llmMs) * MS, playback: (150 + llmMs) * MS };
  turn.calls = [{ node: "llm", ...rest, openedNs: 100 * MS, firstNs: (100 + llmMs) * MS, endedNs: (200 + llmMs) * MS }];
  return {
    schema: RUN_TIMELINE_SCHEMA,
    mode: "live",
    tenantId: "t",
    sessionId: "s-1",
    pipeline: "p@1",
    basis: "journal",
    level: "L2",
    redacted: false,
    sessionPlanHash: "",
    startNs: 0,
    endNs: 2_000 * MS,
    ended: true,
    turns: [turn],
    events: [],
    eventsDropped: 0,
  };
}

const a = timeline(100, "It is noon.");
const b = timeline(400, '<img src="http://x.example/y"> | `late`');
const report = diffTimelines(a, b, [{ class: "PLAN", where: { turn: 9 }, reason: "a new <prompt>" }]);

describe("reports", () => {
  test("F-077 the page holds both runs, every divergence and nothing from elsewhere", () => {
    const page = reportHtml(report, a, b, ["a note & more"]);
    expect(page.match(/<svg /g)).toHaveLength(2);
    expect(page).toContain("llm sim/llm: 400 ms".replace("400", "200"));
    expect(page).toContain("llm sim/llm: 500 ms, first result after 400 ms");
    for (const word of ["PAYLOAD", "TIMING", "first_result_ms", "+300 ms", "a new &lt;prompt&gt;", "a note &amp; more"])
      expect(page).toContain(word);
    expect(page).not.toMatch(/<(?:img|script|link|iframe)\b/);
    expect(page).not.toMatch(/(?:src|href)="(?!#)/);
    expect(page).toContain("default-src 'none'");
  });

  test("F-072 the Markdown names each divergence and what was declared in vain", () => {
    const text = reportMarkdown(report, ["a note"]);
    expect(text).toMatch(/^# Divergence report: FAILED/);
    expect(text).toMatch(
      /\| PAYLOAD \| 1 \| {2}\| output_text \| It is noon\. \| &lt;img .* \\\| `late` \| fails: unexplained \|/,
    );
    expect(text).toMatch(/\| TIMING \| 1 \| llm \| first_result_ms \| 100 \| 400 \(\+300 ms\) \|/);
    expect(text).toContain("- PLAN at turn 9: a new &lt;prompt>");
    expect(reportMarkdown(diffTimelines(a, a))).toContain("the runs are the same");
  });

  test("F-077 a turn that one run has not is drawn as absent", () => {
    expect(reportHtml(diffTimelines(a, { ...a, turns: [] }), a, { ...a, turns: [] })).toContain("did not open");
  });
});
