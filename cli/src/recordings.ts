/** Recordings in a data directory, read without a lock: listed, and told of when they were replayed. */
import { listSessions } from "@rspp/runtime/spool/reader";
import { EXIT_OK } from "./errors.ts";
import { createPrinter } from "./output/printer.ts";
import { paint } from "./output/style.ts";
import { table } from "./output/table.ts";
import { timeWords } from "./output/words.ts";
import type { SessionReplay } from "./replay-session.ts";
import { openSpool } from "./timeline/source.ts";

export function localSessions(options: { data: string; json: boolean }): number {
  const found = listSessions(openSpool(options.data));
  const printer = createPrinter(options.json);
  printer.data({ sessions: found });
  if (found.length === 0) {
    printer.line("no recorded sessions");
    return EXIT_OK;
  }
  const columns = [
    { head: "TENANT" },
    { head: "SESSION" },
    { head: "RECORDED" },
    { head: "RECORDS", right: true },
    { head: "EPOCHS", right: true },
  ];
  const rows = [...found]
    .reverse()
    .map(({ tenantId, sessionId, firstWallMs, records, epochs }) => [
      tenantId === "" ? "?" : tenantId,
      paint("bold", sessionId),
      timeWords(firstWallMs),
      String(records),
      String(epochs.length),
    ]);
  printer.lines(table(columns, rows));
  return EXIT_OK;
}

const LEVELS: Readonly<Record<SessionReplay["level"], string>> = {
  effects: "texts recomputed",
  handles: "over recorded decisions",
};

export function tellReplay(result: SessionReplay): string[] {
  const turns = result.turns.map(
    ({ turn, terminal, planHash, replay }) =>
      `turn ${turn}: ${terminal === "" ? "not finished" : terminal}, plan ${planHash.slice(0, 12)}, replay ${replay}`,
  );
  const divergences = result.divergences.map(
    (d) => `diverged at step ${d.batch}: ${d.class}: expected ${d.expected}, found ${d.found}`,
  );
  const problems = result.problems.map((problem) => `damaged: ${problem}`);
  const cutOff = result.ended ? [] : ["the recording stops before the end of the session"];
  const verdict = result.identical ? paint("green", "identical") : paint("red", "DIVERGED");
  const steps = `${result.steps} steps re-executed (${LEVELS[result.level]}): ${verdict}`;
  return [...turns, ...divergences, ...problems, ...cutOff, steps];
}
