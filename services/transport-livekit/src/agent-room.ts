/** A room as its agent sees it: one caller in, one track out. `livekit-room.ts` is LiveKit's; tests have their own. */

/** Rate at which the room gives the caller and takes the agent. */
export const ROOM_RATE_HZ = { caller: 16_000, agent: 24_000 } as const;

/** What happens in the room. Calls come one at a time and never after `closed`. */
export interface RoomListener {
  /** The caller's microphone is there, for the first time or again. */
  callerCame(identity: string): void;
  /** `forGood`: he left, or was put out; else his connection broke and he may come back. */
  callerLeft(reason: string, forGood: boolean): void;
  /** 20 ms of the caller, pcm_s16le, 16 kHz, mono; the bytes are the room's own. */
  audio(bytes: Uint8Array): void;
  muted(on: boolean): void;
  /** A key of a telephone in the room, by LiveKit's SIP. */
  dtmf(digit: string): void;
  /** A data message of the caller on topic `rspp.signal`. */
  signal(text: string): void;
  /** The agent's own connection is cut and being mended, or mended. */
  away(is: boolean): void;
  /** The agent is out of the room. `forGood`: it was deleted or the agent put out, else the connection is lost. */
  closed(reason: string, forGood: boolean): void;
}

export interface RoomTarget {
  /** LiveKit server, `ws://` or `wss://`. */
  readonly url: string;
  readonly token: string;
  /** Empty: the first participant with a microphone. */
  readonly callerIdentity: string;
}

export interface AgentRoom {
  /** Joins and publishes the agent's track. @throws Error where the server refuses or does not answer. */
  join(target: RoomTarget): Promise<void>;
  /** Gives the track samples after those it has; the bytes may be overwritten when this returns. */
  play(bytes: Uint8Array): void;
  /** Takes back what was not played; @returns how much that was, milliseconds. */
  clear(): number;
  /** What was given and not played yet, milliseconds. */
  queuedMs(): number;
  /** Words of the caller or the agent, as LiveKit's clients show them (topic `lk.transcription`). */
  transcribe(words: Transcription): void;
  /** What the agent does, as LiveKit's clients show it (attribute `lk.agent.state`). */
  agentState(state: AgentState): void;
  /** A message on topic `rspp.event`, as JSON. */
  tell(json: string): void;
  /** Leaves; nothing is heard of the room any more. Idempotent. */
  leave(): Promise<void>;
}

export type AgentState = "initializing" | "listening" | "thinking" | "speaking";

export interface Transcription {
  readonly role: "user" | "assistant";
  /** The same for all revisions of a segment. */
  readonly segment: string;
  readonly text: string;
  readonly final: boolean;
}
