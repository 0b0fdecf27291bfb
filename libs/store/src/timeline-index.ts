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
  readonly complete: boolean;
}

export type SegmentOutcome = "added" | "unchanged" | "does_not_follow";

/** Which segments make up a timeline, and a summary of each. Every call may reject with a StoreError. */
export interface TimelineIndex {
  /** Takes a segment that follows the epoch's last one without a gap, with the summary that is true from now on. */
  add(segment: TimelineSegment, info: TimelineInfo): Promise<SegmentOutcome>;
  /** In order of (epoch, sequence). `after`: the last one seen. */
  segments(session: SessionKey, limit: number, after?: TimelineSegment): Promise<readonly TimelineSegment[]>;
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
