/** Recording level moves and their markers (`kernel.md` §11). */
import type { InputBody } from "./input.ts";
import { type RecordingMarker, recordingAtTurnBoundary, recordingCapture, recordingPressure } from "./recording.ts";
import { type StepContext, signal } from "./step-context.ts";

export function onRecordingPressure(cx: StepContext, fill: number, lagMs: number): void {
  mark(cx, recordingPressure(cx.s.recording, fill, lagMs, cx.nowNs));
}

/** At a turn boundary the level may rise again. */
export function refreshRecording(cx: StepContext): void {
  const { recording } = cx.s;
  for (let more = true; more; ) {
    const marker = recordingAtTurnBoundary(recording, cx.nowNs);
    mark(cx, marker);
    more = marker !== null && recording.capture?.rising === true;
  }
}

/** F-076. Between two turns is a turn boundary as well. */
export function onRecordingCapture(
  cx: StepContext,
  { policyId, level, expired }: Extract<InputBody, { type: "recording_capture" }>,
): void {
  const capture = level === "" ? null : { policyId, level };
  for (const marker of recordingCapture(cx.s.recording, capture, expired ? "policy" : "operator", cx.nowNs))
    mark(cx, marker);
  if (cx.s.turns.length === 0 && cx.s.recording.capture?.rising === true) refreshRecording(cx);
}

function mark(cx: StepContext, marker: RecordingMarker | null): void {
  if (marker === null) return;
  // A replay of what is recorded from here on starts at this state (`kernel.md` §11).
  if (marker.to > marker.from) cx.s.snapshotOwed = true;
  signal(
    cx,
    "recording_level_changed",
    "recording",
    0,
    "",
    { policyId: marker.policyId, levelOld: marker.from, levelNew: marker.to, trigger: marker.trigger },
    false,
  );
  cx.effects.push({
    type: "record",
    record: {
      kind: "recording_level",
      policyId: marker.policyId,
      from: marker.from,
      to: marker.to,
      trigger: marker.trigger,
      monoNs: marker.at,
    },
  });
}
