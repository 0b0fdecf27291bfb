/** A divergence report as one page that needs nothing else: both runs side by side, turn by turn. */
import type { Divergence, DivergenceReport } from "./diff.ts";
import { countWords, ms, runWords, signed, statusWords } from "./report-markdown.ts";
import { barsOf, escapeHtml, scaleOf, waterfallSvg } from "./report-svg.ts";
import type { RunTimeline, RunTurn } from "./run-timeline.ts";

const TURNS_MAX = 200;
const ROWS_MAX = 500;

export function reportHtml(
  report: DivergenceReport,
  a: RunTimeline,
  b: RunTimeline,
  notes: readonly string[] = [],
): string {
  const numbers = [...new Set([...a.turns, ...b.turns].map(({ turn }) => turn))].sort((x, y) => x - y);
  const turns = numbers.slice(0, TURNS_MAX).map((turn) => turnSection(turn, a, b, report.divergences));
  const left = numbers.length > TURNS_MAX ? `<p>${numbers.length - TURNS_MAX} more turns are not drawn.</p>` : "";
  const verdict = { same: "same", explained: "explained", failed: "failed" }[report.verdict];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Divergence report: ${escapeHtml(report.a.sessionId)}</title><style>${STYLE}</style></head><body>
<header><h1>Divergence report <span class="verdict ${verdict}">${verdict}</span></h1>
<p>${escapeHtml(countWords(report))}</p></header>
<section class="runs"><div><h2>a</h2><p>${escapeHtml(runWords(report.a))}</p></div><div><h2>b</h2><p>${escapeHtml(runWords(report.b))}</p></div></section>
${notes.length === 0 ? "" : `<ul class="notes">${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join("")}</ul>`}
${divergenceTable(report.divergences, report.left)}${unmetList(report)}${latencyTable(report)}
<h2>Turns</h2><p class="legend"><i class="turn"></i>turn <i class="caller"></i>waiting for its open <i class="call"></i>provider, <b class="first"></b> its first result <i class="output"></i>audio out <i class="playback"></i>heard <i class="call differs"></i>differs. Zero is where each turn opened.</p>
${turns.join("\n")}${left}
</body></html>
`;
}

function divergenceTable(divergences: readonly Divergence[], left: number): string {
  if (divergences.length === 0) return "";
  const rows = divergences.slice(0, ROWS_MAX).map((one) => {
    const change = one.deltaMs === null ? "" : ` <em>${escapeHtml(signed(one.deltaMs))}</em>`;
    const turn = one.turn === 0 ? "session" : `<a href="#turn-${one.turn}">${one.turn}</a>`;
    return `<tr class="${one.fails ? "fails" : "passes"}"><td><span class="chip ${one.class}">${one.class}</span></td><td>${turn}</td><td>${escapeHtml(one.node)}</td><td>${escapeHtml(one.what)}</td><td class="value">${value(one.a)}</td><td class="value">${value(one.b)}${change}</td><td>${escapeHtml(statusWords(one))}</td></tr>`;
  });
  const more = left + Math.max(0, divergences.length - ROWS_MAX);
  return `<h2>Divergences</h2><table><thead><tr><th>class</th><th>turn</th><th>node</th><th>what</th><th>a</th><th>b</th><th></th></tr></thead><tbody>${rows.join("")}</tbody></table>${more > 0 ? `<p>${more} more are not listed.</p>` : ""}`;
}

function value(text: string): string {
  return /^[0-9a-f]{32,}$/.test(text) ? `<code>${text.slice(0, 12)}…</code>` : escapeHtml(text.slice(0, 500));
}

function unmetList({ unmet }: DivergenceReport): string {
  if (unmet.length === 0) return "";
  const items = unmet.map(({ class: kind, where, reason }) => {
    const place = Object.entries(where).map(([name, at]) => `${name} ${at}`);
    return `<li><span class="chip ${kind}">${kind}</span> ${escapeHtml(place.join(", "))} ${escapeHtml(reason)}</li>`;
  });
  return `<h2>Declared, and did not occur</h2><ul>${items.join("")}</ul>`;
}

function latencyTable({ latencies }: DivergenceReport): string {
  if (latencies.length === 0) return "";
  const rows = latencies.map(
    (one) =>
      `<tr><td>${escapeHtml(one.metric)}</td>${[one.turns, ms(one.aP50Ms), ms(one.bP50Ms), ms(one.aMaxMs), ms(one.bMaxMs), signed(one.worstRegressionMs)].map((x) => `<td class="number">${x}</td>`).join("")}</tr>`,
  );
  return `<h2>Latencies</h2><table><thead><tr><th></th><th>turns</th><th>a p50</th><th>b p50</th><th>a max</th><th>b max</th><th>worst change</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function turnSection(number: number, a: RunTimeline, b: RunTimeline, divergences: readonly Divergence[]): string {
  const mine = divergences.filter(({ turn }) => turn === number);
  const marked = new Set(mine.map(({ node }) => node));
  const sides = [a, b].map((timeline) => {
    const turn = timeline.turns.find((one) => one.turn === number);
    return { timeline, turn, bars: turn === undefined ? [] : barsOf(turn, timeline), openNs: turn?.openNs ?? 0 };
  });
  const scale = scaleOf(sides);
  const drawn = sides.map(({ turn, bars, openNs }, i) => {
    const name = `turn ${number} of run ${i === 0 ? "a" : "b"}`;
    if (turn === undefined) return `<div class="side absent">did not open</div>`;
    return `<div class="side">${waterfallSvg(bars, openNs, scale, marked, name)}${said(turn)}</div>`;
  });
  const chips = [...new Set(mine.map((one) => one.class))].map((kind) => `<span class="chip ${kind}">${kind}</span>`);
  return `<section class="pair" id="turn-${number}"><h3>Turn ${number} ${chips.join(" ")}</h3><div class="sides">${drawn.join("")}</div></section>`;
}

function said(turn: RunTurn): string {
  const end = turn.terminal === "" ? "open" : `${turn.terminal}${turn.reason === "" ? "" : ` (${turn.reason})`}`;
  const words = (who: string, { text, chars }: RunTurn["user"]): string => {
    if (text !== null) return text === "" ? "" : `<p><b>${who}</b> ${escapeHtml(text)}</p>`;
    return chars > 0 ? `<p><b>${who}</b> <span class="hidden">${chars} characters, not recorded</span></p>` : "";
  };
  return `${words("caller", turn.user)}${words("agent", turn.output)}<p class="end">${escapeHtml(end)}${turn.delivery === "" ? "" : `, playback ${escapeHtml(turn.delivery)}`}</p>`;
}

const STYLE = `
:root{--ink:#1c2430;--soft:#5d6b7c;--line:#dde3ea;--page:#fff;--wash:#f5f7fa;--bad:#c0362c;--good:#1d7a46;--warn:#9a6200}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#9aa8b8;--line:#323c48;--page:#12171d;--wash:#1a2129;--bad:#ff8a80;--good:#6fd39b;--warn:#f0b95b}}
*{box-sizing:border-box}body{margin:0 auto;padding:24px;max-width:1280px;font:14px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:28px 0 8px}h3{font-size:14px;margin:0 0 8px}p{margin:4px 0}
.verdict{font-size:13px;padding:3px 10px;border-radius:12px;vertical-align:3px;color:#fff;background:#1d7a46}.verdict.failed{background:#c0362c}
.runs,.sides{display:grid;grid-template-columns:1fr 1fr;gap:20px}.runs h2{margin:12px 0 0;font-family:ui-monospace,monospace}
table{border-collapse:collapse;width:100%;font-size:13px}th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--soft);font-weight:600}
.value{max-width:260px;overflow-wrap:anywhere}.number{font-variant-numeric:tabular-nums}tr.fails td:last-child{color:var(--bad);font-weight:600}tr.passes td:last-child{color:var(--soft)}
.chip{font:600 11px/1 ui-monospace,monospace;padding:3px 6px;border-radius:4px;background:var(--wash);color:var(--soft);border:1px solid var(--line);white-space:nowrap}
.chip.AUTHORITY,.chip.OUTCOME,.chip.ORDERING,.chip.PLAN{color:var(--bad)}.chip.TIMING{color:var(--warn)}
.pair{background:var(--wash);border:1px solid var(--line);border-radius:8px;padding:14px;margin:0 0 14px}.side{min-width:0}.absent{color:var(--bad);align-self:center;text-align:center}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}svg text.ms,svg text.axis{fill:var(--soft);font-size:10px}svg text.axis{text-anchor:middle}svg text.differs{fill:var(--bad);font-weight:600}
.tick{stroke:var(--line)}.tick.zero{stroke:var(--soft)}line.first{stroke:var(--ink);stroke-width:2}
rect.turn{fill:#8fa3ba}rect.caller{fill:#c9b458}rect.call{fill:#4f83cc}rect.output{fill:#3f9d77}rect.playback{fill:#7cc9a4}rect.differs{fill:#d9534a}
.legend{color:var(--soft);font-size:12px}.legend i{display:inline-block;width:18px;height:10px;border-radius:3px;margin:0 4px 0 10px}.legend b.first{display:inline-block;width:2px;height:12px;background:var(--ink);vertical-align:-2px}
i.turn{background:#8fa3ba}i.caller{background:#c9b458}i.call{background:#4f83cc}i.output{background:#3f9d77}i.playback{background:#7cc9a4}i.differs{background:#d9534a}
.end,.hidden{color:var(--soft);font-size:12px}.notes{color:var(--soft)}a{color:inherit}
@media(max-width:800px){.runs,.sides{grid-template-columns:1fr}}
`;
