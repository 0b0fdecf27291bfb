/** The prelude of a session that has heard nothing yet. */
import { ringCreate } from "@rspp/base/ring";
import type { Prelude } from "./state.ts";
import { utteranceCreate } from "./utterance.ts";

const PREROLL_FRAMES_MAX = 100;

export function preludeCreate(): Prelude {
  return {
    utterance: utteranceCreate(),
    speechUs: 0,
    silenceUs: 0,
    onsetFrames: 0,
    utteranceUs: 0,
    cutUs: 0,
    lastActivityNs: 0,
    firstVoicedNs: 0,
    lastVoicedNs: 0,
    preroll: ringCreate(PREROLL_FRAMES_MAX),
    hearing: null,
    closing: [],
    speculation: null,
    heldTurn: 0,
    muted: false,
    planId: "",
    planHash: "",
    planStale: true,
    planEpoch: 0,
  };
}
