import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Clock } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { ProviderPort } from "@rspp/ports/provider";
import type { TransportEnd } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import type { SpanSource } from "@rspp/telemetry/spans";
import type { StatePort } from "./durable/store.ts";
import type { IngressRefusal } from "./ingress.ts";
import type { KernelPort } from "./kernel-port.ts";
import type { Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import type { GraphMetrics } from "./node-metrics.ts";
import type { Overhead } from "./overhead.ts";
import type { PayloadStats } from "./payload-store.ts";
import type { Spool } from "./spool/spool.ts";

export interface HostedSession {
  readonly config: SessionConfig;
  readonly transport: TransportEnd;
  /** Whole journal in memory, at any recording level. */
  readonly keepJournal: boolean;
  /** `traceparent` of who opened it; null for none. */
  readonly traceparent: string | null;
}

export interface SessionHostPorts {
  clock: Clock;
  kernel: KernelPort;
  providers: ProviderPort;
  vad: VadPort | null;
  /** Null: no custom nodes run here. */
  nodes: NodeHostPort | null;
  spool: Spool;
  /** Where durable state is kept; null: nowhere. */
  state: StatePort | null;
  metrics: Metrics;
  graphs: GraphMetrics;
  overhead: Overhead;
  /** Null: no spans are made. */
  spans: SpanSource | null;
  logger: Logger;
  defer: (run: () => void) => void;
  /** How long the adapter may take to say `connected`, milliseconds. */
  connectMs: number;
  /** Tells the scheduler that there is work. */
  ready: () => void;
  /** Key of the tenant's payload hashes; asked at L1 and L2 only. */
  tenantKey: (tenantId: string) => Uint8Array;
  ended: (end: SessionEnded) => void;
}

export interface SessionStats {
  phase: string;
  inputs: number;
  steps: number;
  effects: number;
  queued: number;
  /** Caller frames dropped because the queue was full. */
  mediaDropped: number;
  /** Inputs that came after the end, or while the session was being ended. */
  inputsIgnored: number;
  /** Refused ingress messages by field. */
  ingressRefused: Readonly<Record<string, number>>;
  lastRefusal: IngressRefusal | null;
  /** Provider chunks refused: malformed, or after the outcome. */
  chunksRefused: number;
  evidenceFailures: number;
  /** Evidence records given up: declared loss. */
  evidenceLost: number;
  journalEntries: number;
  /** Entries lost because the journal in memory was full: it then proves nothing about its start. */
  journalDropped: number;
  payloads: PayloadStats;
  openInvocations: number;
  openTimers: number;
}

export interface SessionEnded {
  sessionId: string;
  reason: string;
  /** True when the kernel did not end it, but the shell had to. */
  forced: boolean;
  /** As it stood before the session's payloads were freed. */
  stats: SessionStats;
  /** Settles when nothing is written for it any more; absent: nothing is. */
  stateClosed?: Promise<void>;
}
