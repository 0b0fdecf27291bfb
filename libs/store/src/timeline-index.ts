import type { SessionKey } from "./state-store.ts";

export interface TimelineSegment {
  readonly session: SessionKey;
  readonly epoch: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly objectKey: string;
  readonly bytes: number;
  /** Of the object, hexadecimal. */
  readonly sha256: string;
  /** Chain digest of its last record, hexadecimal (kernel.md §11). */
  readonly headDigest: string;
}

/** What one segment adds to the summary of its timeline. */
export interface TimelinePart {
  /** Empty where the segment does not tell. */
  readonly pipelineName: string;
  readonly pipelineVersion: number;
  readonly firstWallMs: number;
  readonly lastWallMs: number;
  readonly records: number;
  readonly turns: number;
  /** Highest of the segment. */
  readonly recordingLevel: number;
  /** The session's end is in it. */
  readonly ended: boolean;
  /** Declared losses in it. */
  readonly losses: number;
}

export interface TimelineInfo {
  readonly session: SessionKey;
  readonly pipelineName: string;
  readonly pipelineVersion: number;
  readonly startedWallMs: number;
  readonly lastWallMs: number;
  readonly records: number;
  readonly bytes: number;
  readonly turns: number;
  readonly recordingLevel: number;
  readonly ended: boolean;
  readonly losses: number;
  /** Epochs with records, rising; 256 at most. */
  readonly epochs: readonly number[];
}

/** Where the chain of one (session, epoch) ends. */
export interface TimelineHead {
  readonly epoch: number;
  readonly lastSequence: number;
  /** Hexadecimal. */
  readonly headDigest: string;
}

export type SegmentOutcome = "added" | "unchanged" | "does_not_follow";

/** Which segments make up a timeline, and a summary of each. Every call may reject with a StoreError. */
export interface TimelineIndex {
  /** Takes a segment that follows the epoch's last one without a gap, and adds its part to the summary. */
  add(segment: TimelineSegment, part: TimelinePart): Promise<SegmentOutcome>;
  /** In order of (epoch, sequence). `after`: the last one seen. `epoch`: of that one alone. */
  segments(
    session: SessionKey,
    limit: number,
    after?: TimelineSegment,
    epoch?: number,
  ): Promise<readonly TimelineSegment[]>;
  /** One for each epoch, rising; the newest 256. */
  heads(session: SessionKey): Promise<readonly TimelineHead[]>;
  info(session: SessionKey): Promise<TimelineInfo | undefined>;
  /** Newest first, of one tenant. */
  list(ask: {
    readonly tenantId: string;
    readonly pipelineName?: string;
    readonly sinceWallMs?: number;
    readonly limit: number;
    readonly after?: string | null;
  }): Promise<{ readonly timelines: readonly TimelineInfo[]; readonly next: string | null }>;
}
