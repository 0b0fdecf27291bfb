/** Recording level moves and their markers (`kernel.md` §11). */
import { type RecordingMarker, recordingAtTurnBoundary, recordingPressure } from "./recording.ts";
import { type StepContext, signal } from "./step-context.ts";

export function onRecordingPressure(cx: StepContext, fill: number, lagMs: number): void {
  mark(cx, recordingPressure(cx.s.recording, fill, lagMs, cx.nowNs));
}

/** At a turn boundary the level may rise again. */
export function refreshRecording(cx: StepContext): void {
  mark(cx, recordingAtTurnBoundary(cx.s.recording, cx.nowNs));
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
