/** Which caller audio is still needed: told to the shell, so that an idle call keeps a pre-roll and not seconds. */
import { ringPeek } from "@rspp/base/ring";
import { isOn, RELEASES_CALLER_AUDIO } from "./behaviours.ts";
import type { KernelEvent } from "./event.ts";
import { CALLER_RELEASE_FRAMES_MAX } from "./limits.ts";
import type { SessionState } from "./state.ts";
import type { StepContext } from "./step-context.ts";

/**
 * Every few frames: no payload of caller audio below `below` will be asked for again. Held are the recogniser's pre-roll
 * and what waits on the session's edges; payload refs of caller audio rise.
 */
export function releaseCallerAudio(cx: StepContext, sequence: number, newestRef: number): void {
  if (sequence % CALLER_RELEASE_FRAMES_MAX !== 0) return;
  if (!isOn(cx.s.config.behaviours, RELEASES_CALLER_AUDIO)) return;
  cx.effects.push({ type: "release_input", below: lowestHeld(cx.s, newestRef + 1) });
}

function lowestHeld(s: SessionState, above: number): number {
  let lowest = lower(above, ringPeek(s.prelude.preroll));
  for (const edge of s.run.edges) {
    if (edge === null) continue;
    lowest = lower(lower(lowest, ringPeek(edge.queue)), ringPeek(edge.waiting));
  }
  return lowest;
}

function lower(ref: number, event: KernelEvent | undefined): number {
  if (event === undefined || event.body.type !== "audio") return ref;
  return Math.min(ref, event.body.payload.ref);
}
