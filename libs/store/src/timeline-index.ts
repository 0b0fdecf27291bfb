import type { SessionKey } from "./state-store.ts";

/** A run of one session's records, in an object that may hold those of others of its tenant. */
export interface TimelineSegment {
  readonly session: SessionKey;
  readonly epoch: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly objectKey: string;
  /** Where it stands in the object. */
  readonly byteOffset: number;
  readonly bytes: number;
  /** Of its bytes, hexadecimal. */
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

/** A segment with what it adds. */
export interface NewTimelineSegment {
  readonly segment: TimelineSegment;
  readonly part: TimelinePart;
}

export type SegmentOutcome = "added" | "unchanged" | "does_not_follow";

/** Which segments make up a timeline, and a summary of each. Every call may reject with a StoreError. */
export interface TimelineIndex {
  /**
   * Takes the segments of one object in one transaction: each that follows its epoch's last one without a gap is added,
   * and its part to the summary. One of a chain at most. @returns an outcome for each, in order. Rejects with `conflict`,
   * and nothing is added, when the object was given up by {@link giveUpObjects}.
   */
  add(segments: readonly NewTimelineSegment[]): Promise<readonly SegmentOutcome[]>;
  /**
   * Of these objects those that no segment names. None ever will: who wrote one and comes late is refused, so that it may
   * be removed. Asked for 1000 keys at most, it gives 100 at most; asked again, those again. What was given up more than 30 days ago is forgotten.
   */
  giveUpObjects(keys: readonly string[]): Promise<readonly string[]>;
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
