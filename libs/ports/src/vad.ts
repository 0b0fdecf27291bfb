/**
 * Voice activity detection as the runtime sees it: one host per process (its model may be batched over sessions), one
 * small state per session.
 */

/** What every frame must be: 20 ms of signed 16-bit little-endian PCM, one channel, 16 kHz. */
export const VAD_RATE_HZ = 16_000;
export const VAD_FRAME_BYTES = 640;

export interface VadResult {
  speech: boolean;
  /** 0 … 1; where the detector knows none, 0 or 1. */
  probability: number;
}

export interface VadSession {
  /** One frame in order, to be looked at or copied before this returns. `onResult` is called exactly once for it, now or later, in the order of the frames. */
  push(frame: Uint8Array, onResult: (result: VadResult) => void): void;
  /** Forgets what was heard so far. */
  reset(): void;
  /** Frees what the session holds; frames still waiting may stay unanswered. Idempotent. */
  close(): void;
}

export interface VadPort {
  /** The detector that serves, e.g. `fvad+silero`; said in logs and in the plan. */
  readonly name: string;
  /** @param silero off: the plain detector, as the node's settings ask for it (F-017). Default auto: the best there is. */
  openSession(silero?: "auto" | "off"): VadSession;
  close(): void | Promise<void>;
}
