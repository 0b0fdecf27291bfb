/** The numbers of this adapter; every queue and list here is bounded by one of them. */
import { invariant } from "@rspp/base/invariant";

/** Length of a caller's frame, and of the tick a playout device is fed by. */
export const FRAME_MS = 20;
/** Rate of the runtime's own audio and of the caller's microphone. */
export const CALLER_RATE_HZ = 16_000;
/** Audio held unplayed; beyond it frames are refused and counted, because the runtime must pace (kernel.md §6). */
export const PLAYOUT_QUEUE_MS_MAX = 2_000;
/** Frames held unplayed, end marks without audio included. */
export const PLAYOUT_QUEUE_FRAMES_MAX = 1_024;
/** Longest start buffer that may be asked for. */
export const PLAYOUT_BUFFER_MS_MAX = 500;
/** Media time between two progress reports of a turn. */
export const PROGRESS_MS = 100;
/** Turns whose delivery is remembered; the oldest settled one is forgotten first. */
export const DELIVERIES_MAX = 256;
/** Turns with a fence of their own; past it the lowest and all before it are refused as a whole. */
export const FENCE_ENTRIES_MAX = 64;
/** Refusals kept as evidence; later ones are counted alone. */
export const REFUSALS_MAX = 1_024;
/** Speech waiting to be spoken. */
export const SPEECH_PENDING_MS_MAX = 600_000;
/** Missed microphone time that is made up for after a pause of the process; the rest is skipped and counted. */
export const MICROPHONE_CATCH_UP_MS = 2_000;
/** Audio kept by a recorder, per direction; what follows is counted alone. */
export const RECORD_MS_MAX = 1_800_000;
/** Unbroken stretches kept by a recorder. */
export const RECORD_RANGES_MAX = 65_536;
/** Texts and signals from the runtime kept for whoever looks; later ones are only handed to the callback. */
export const HEARD_MESSAGES_MAX = 4_096;
/** Size of a transcript file beside a WAV. */
export const TRANSCRIPT_BYTES_MAX = 65_536;

invariant(PLAYOUT_BUFFER_MS_MAX < PLAYOUT_QUEUE_MS_MAX, "the start buffer fits into the queue");
invariant(PROGRESS_MS % FRAME_MS === 0, "a progress report falls on a frame's end");
