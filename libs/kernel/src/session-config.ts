/** Everything a session starts with. Plain data: it is journaled and a replay starts from it. */
import type { MonoNs } from "@rspp/base/brand";
import type { DialoguePolicy } from "./dialogue-policy.ts";
import type { TextSpan } from "./event.ts";
import type { GraphDefinition } from "./graph.ts";
import type { Takeover } from "./takeover-state.ts";

export type SecondProposal = "preempt" | "queue" | "drop";

export interface SessionPolicy extends DialoguePolicy {
  id: string;
  /** What happens to a proposal while a turn is open or its delivery unsettled. */
  secondProposal: SecondProposal;
  bargeIn: boolean;
  /** How a cancel is accepted that does not say: at once, or at the bounded end of the chunk in flight (F-041). Absent: hard. */
  cancelMode?: "hard" | "soft";
  /** Longest rest of the chunk in flight under a soft cancel, milliseconds; absent: 500. */
  softLimitMs?: number;
  /** Hold playout while speech is only a candidate, resume when it is discarded. */
  holdOnCandidate: boolean;
  lateEvents: "drop" | "remap" | "diagnose";
  speculation: boolean;
  /** How long after the endpoint a final transcript is awaited, milliseconds. */
  finalWaitMs: number;
  /** Reconnect deadline, milliseconds. */
  reconnectMs: number;
  /** Conversation parts kept; older ones leave the context. */
  historyPartsMax: number;
}

/** Values of `simple/v1` (`kernel.md` §3) after the spec's own values were laid over them; milliseconds. */
export interface Budgets {
  turnFirstOutputMs: number;
  nodeSoftMs: number;
  providerAttemptMs: number;
  cancelGraceMs: number;
}

export interface Provenance {
  /** Field path -> source, e.g. `budgets.providerAttemptMs` -> `defaulting_source=execution_profile/simple/v1`. */
  readonly [path: string]: string;
}

export interface SnapshotRefs {
  pipeline: string;
  profile: string;
  policy: string;
  routing: string;
  rollout: string;
  admission: string;
  providerHealth: string;
}

export interface RecordingConfig {
  policyId: string;
  ceiling: "L0" | "L1" | "L2";
  /** Bytes the shell has set aside for this session's evidence. */
  evidenceQuotaBytes: number;
  /** How the ceiling was drawn (F-071); absent where every session is recorded alike. The kernel does not look at it. */
  sample?: { percent: number; bucket: number; kept: boolean };
}

export interface SessionConfig {
  tenantId: string;
  sessionId: string;
  seed: string;
  graph: GraphDefinition;
  profile: string;
  policy: SessionPolicy;
  budgets: Budgets;
  provenance: Provenance;
  snapshots: SnapshotRefs;
  recording: RecordingConfig;
  authority: { epoch: number; incarnation: string; deadlineNs: MonoNs };
  /**
   * Takeover: turns the predecessor gave out, as the adapter saw them. Numbers go on after it, since the adapter's fence is
   * ordered by turn and would cut a number that was given out before (`kernel.md` §6, §7). Default 0.
   */
  turnsBefore?: number;
  /** Set where another runtime held the session before (`kernel.md` §7). */
  takeover?: Takeover;
  /** Milliseconds of audio the output may run ahead of playout. */
  outputLeadMs: number;
  /** System prompt, as payloads the shell registered before the start; empty for none. */
  systemPrompt: readonly TextSpan[];
  /** Sentences of the spec that the agent may say of its own accord, by name, as payloads the shell registered. */
  spoken?: Readonly<Record<string, readonly TextSpan[]>>;
  variables: Readonly<Record<string, string | number | boolean>>;
  /** Behaviour flags that are on. */
  behaviours: readonly number[];
  /** Every how many turns a state snapshot is emitted; 0 for never after the first. */
  snapshotEveryTurns: number;
  debugEvents: boolean;
}
