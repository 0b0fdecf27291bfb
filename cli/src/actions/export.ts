/** `rspp export`: a recorded call as audio, transcript and timeline. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toJsonString } from "@bufbuild/protobuf";
import { interleave } from "@rspp/audio/pcm";
import { resample } from "@rspp/audio/resample";
import { writeWav } from "@rspp/audio/wav";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import { type HeardCall, type HeardTurn, heardCall, type Piece, track } from "@rspp/replay/heard-call";
import { configOf } from "@rspp/replay/re-execute";
import { recordingOf } from "@rspp/replay/recording";
import type { ExportOptions } from "../commands/export.ts";
import { CommandError, EXIT_FAILED, EXIT_OK, InputError } from "../errors.ts";
import { createPrinter } from "../output/printer.ts";
import { countWords, msWords } from "../output/words.ts";
import { noJournal } from "../replay-session.ts";
import type { Where } from "../timeline/options.ts";
import { recordsOf } from "../timeline/records.ts";
import { orNowhere } from "../timeline/source.ts";

/** Status 1 where the recording is damaged, or some of its audio is not there: what there is, is written. */
export async function exportCall(session: string, options: ExportOptions, where: Where): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  const records = await orNowhere(session, options, where, recordsOf(session, options, where));
  const call = callOf(session, records);
  const folder = options.out ?? session;
  const files = {
    "call.wav": await stereoWav(call),
    "transcript.txt": transcriptText(call),
    "transcript.json": `${JSON.stringify(transcriptData(call), null, 2)}\n`,
    "timeline.jsonl": records
      .map((record) => `${toJsonString(TimelineRecordSchema, record, { useProtoFieldName: true })}\n`)
      .join(""),
  };
  await save(folder, files);
  const { framesMissing, replay, durationMs, turns } = call;
  const { problems } = replay;
  const ok = framesMissing === 0 && problems.length === 0;
  printer.data({
    ok,
    session,
    folder,
    files: Object.keys(files),
    duration_ms: durationMs,
    turns: turns.length,
    records: records.length,
    frames_missing: framesMissing,
    problems,
  });
  for (const problem of problems) printer.note(`damaged: ${problem}`);
  if (framesMissing > 0)
    printer.note(`${countWords(framesMissing, "frame")} of audio not in the recording: silence stands there`);
  printer.line(
    `${session}: ${msWords(durationMs)}, ${countWords(turns.length, "turn")}, in ${folder}: ${Object.keys(files).join(", ")}`,
  );
  return ok ? EXIT_OK : EXIT_FAILED;
}

/** @throws InputError for a recording without payloads, CommandError for one that this build cannot re-execute. */
function callOf(session: string, records: readonly TimelineRecord[]): HeardCall {
  const { recording, problems } = recordingOf(records);
  const config = configOf(recording);
  if (config === null) throw new InputError(noJournal(session));
  if (recording.payloads.size === 0)
    throw new InputError(
      `session ${session}: recorded without payloads, so there is nothing to hear or read\n   help: record at L2 (recording.level in the spec, or --record L2)`,
    );
  try {
    return heardCall(session, config, recording, problems);
  } catch {
    // The kernel's own words are about its invariants, not about the record.
    throw new CommandError({
      status: EXIT_FAILED,
      reason: "replay_failed",
      what: `session ${session}: the recording cannot be re-executed by this build, or was altered`,
      remedy: `\`rspp verify ${session}\` says where it was altered; a recording of another build needs that build`,
    });
  }
}

/** Both sides at one rate: the caller's, which is that of the recogniser. */
async function stereoWav({ caller, agent, durationMs }: HeardCall): Promise<Uint8Array> {
  const side = async (pieces: readonly Piece[], rateHz: number): Promise<Int16Array> => {
    const samples = track(pieces, Math.round((durationMs * rateHz) / 1_000));
    return rateHz === caller.rateHz ? samples : resample(samples, { inRateHz: rateHz, outRateHz: caller.rateHz });
  };
  const left = await side(caller.pieces, caller.rateHz);
  const right = await side(agent.pieces, agent.rateHz);
  const length = Math.min(left.length, right.length);
  const stereo = interleave(left.subarray(0, length), right.subarray(0, length));
  return writeWav(stereo, { rateHz: caller.rateHz, channels: 2 });
}

function transcriptData({ sessionId, durationMs, turns, replay }: HeardCall) {
  return {
    session: sessionId,
    duration_ms: durationMs,
    replay_identical: replay.identical,
    turns: turns.map(({ turn, caller, said, heard, terminal, cut, fromMs, toMs }) => ({
      turn,
      caller,
      agent_said: said,
      agent_heard: heard,
      terminal,
      cut,
      heard_from_ms: fromMs,
      heard_to_ms: toMs,
    })),
  };
}

/** By when the agent began to be heard; words that were not heard stand in brackets. */
function transcriptText({ turns }: HeardCall): string {
  const lines = turns.flatMap((turn) => {
    const at = timeOf(turn);
    const caller = turn.caller === "" ? [] : [`${" ".repeat(at.length)}  caller: ${turn.caller}`];
    const unheard = turn.said.startsWith(turn.heard) ? turn.said.slice(turn.heard.length).trim() : "";
    const rest = unheard === "" ? "" : ` [not heard: ${unheard}]`;
    return turn.said === "" ? caller : [...caller, `${at}  agent:  ${turn.heard}${rest}`];
  });
  return `${lines.join("\n")}\n`;
}

function timeOf({ fromMs }: HeardTurn): string {
  if (fromMs === null) return " ".repeat("00:00.000".length);
  const minutes = String(Math.floor(fromMs / 60_000)).padStart(2, "0");
  return `${minutes}:${((fromMs % 60_000) / 1_000).toFixed(3).padStart(6, "0")}`;
}

/** For its owner alone: it holds what was said. */
async function save(folder: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(
      `--out ${folder}: cannot be written (${code})\n   help: name a folder you may write to with --out DIR`,
    );
  }
}
