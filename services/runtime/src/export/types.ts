import type { Clock } from "@rspp/ports/clock";
import type { RpcConnection } from "@rspp/rpc/clients";
import type { Log } from "@rspp/rpc/log";
import type { Spool } from "../spool/spool.ts";
import type { SpoolStore } from "../spool/store.ts";

/** What the exporter is given; `store` is the one the spool writes to. */
export interface ExporterOptions {
  readonly spool: Spool;
  readonly store: SpoolStore;
  /** To the replay service. */
  readonly connection: RpcConnection;
  readonly clock: Clock;
  readonly log: Log;
  readonly instanceId: string;
  readonly build: string;
}

/** Where export stands; `kernel.md` §11. */
export interface ExportStats {
  readonly connected: boolean;
  /** Records acknowledged since the start. */
  readonly exported: number;
  /** Records sent and not yet acknowledged. */
  readonly inFlight: number;
  /** Age of the oldest record that is not acknowledged, milliseconds; 0 when there is none. */
  readonly lagMs: number;
  /** For the spool's `exportMeasure`; always 0: what waits is in the spool, whose own measures say how full it is. */
  readonly fill: number;
  /** Export fell behind and catches up (F-154). */
  readonly behind: boolean;
  /** Chains left alone until an operator acts: the replay service holds another one, or the spool lost a part. */
  readonly halted: number;
  readonly reconnects: number;
}

export interface Exporter {
  stats(): ExportStats;
  /** Settles once everything that is in the spool now is acknowledged; never while the replay service is away. */
  idle(): Promise<void>;
  /** Stops after what is under way; what is not acknowledged stays in the spool for the next start. */
  stop(): Promise<void>;
}
