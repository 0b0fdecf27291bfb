/**
 * This runtime as the registry sees it (F-159): its status now and then and at once when asked, the sessions that changed,
 * each ended one until the registry has taken it. The registry may ask it to take no new sessions.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { sessionKey } from "@rspp/base/session-key";
import type { SessionKey } from "@rspp/gen/rspp/common/v1/reference_pb";
import type { InstanceStatusSchema } from "@rspp/gen/rspp/registry/v1/registry_pb";
import {
  type DrainOrder,
  InstanceService,
  type ReportInstanceRequestSchema,
} from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { type SessionInfo, SessionState } from "@rspp/gen/rspp/runtime/v1/session_pb";
import type { Clock } from "@rspp/ports/clock";
import type { RpcConnection } from "@rspp/rpc/clients";
import { describeFailure } from "@rspp/rpc/log";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { SessionBook } from "./session-service-book.ts";
import { pause, type StreamLoop, startStreamLoop } from "./stream-loop.ts";

export interface InstanceReportOptions {
  readonly registry: RpcConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly book: SessionBook;
  /** What is true now; asked for before each report. */
  status(): MessageInitShape<typeof InstanceStatusSchema>;
  /** The registry asks, or asks no more, that no new sessions are taken. */
  onDrain(drain: boolean, order: DrainOrder | null): void;
  /** Sessions that are to go on elsewhere; named again until they do. */
  onMigrate?(sessions: readonly SessionKey[]): void;
  /** The registry takes reports, or does not. */
  onReachable(there: boolean): void;
  /** 0 to 1, spreads the waits. */
  random?(): number;
}

export interface InstanceReporting {
  /** Reports at once, e.g. that it drains. */
  now(): void;
  /** Reports one last time, waits a moment for the answer, and ends. Idempotent. */
  stop(): Promise<void>;
}

export function startInstanceReport(options: InstanceReportOptions): InstanceReporting {
  return new Reporting(options);
}

class Reporting implements InstanceReporting {
  readonly #options: InstanceReportOptions;
  readonly #changes: SessionChanges;
  readonly #loop: StreamLoop;
  #everyMs: number = limits.REPORT_EVERY_MS;
  #hurry = new AbortController();
  #stopping = false;
  #stopped: Promise<void> | null = null;
  #there: boolean | null = null;
  #answered: (well: boolean) => void = () => {};
  #last: () => void = () => {};

  constructor(options: InstanceReportOptions) {
    this.#options = options;
    this.#changes = new SessionChanges(options.book, options.clock);
    const { clock, random } = options;
    this.#loop = startStreamLoop({
      clock,
      run: (signal, alive) => this.#stream(signal, alive),
      onReachable: (there, failure) => this.#reached(there, failure),
      ...(random === undefined ? {} : { random }),
    });
  }

  now(): void {
    this.#hurry.abort();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const told = new Promise<void>((resolve) => {
      this.#last = resolve;
    });
    this.#stopping = true;
    this.now();
    if (this.#there === true) {
      const late = new AbortController();
      await Promise.race([told, pause(this.#options.clock, limits.REPORT_LAST_MS, late.signal)]);
      late.abort();
    }
    await this.#loop.stop();
  }

  #reached(there: boolean, failure: unknown): void {
    if (this.#stopping) return;
    if (this.#there !== there) {
      if (there) this.#options.logger.info({}, "registry takes reports");
      else this.#options.logger.warn(failure === null ? {} : describeFailure(failure), "registry takes no reports");
    }
    this.#there = there;
    this.#options.onReachable(there);
  }

  async #stream(signal: AbortSignal, alive: () => void): Promise<void> {
    const { registry, onDrain, onMigrate } = this.#options;
    const ended = new AbortController();
    const both = AbortSignal.any([signal, ended.signal]);
    this.#changes.again();
    try {
      const answers = registry.client(InstanceService).reportInstance(this.#reports(both, ended), { signal: both });
      for await (const { drain, reportEveryMs, drainOrder = null, migrateSessions } of answers) {
        this.#everyMs = Math.max(limits.REPORT_EVERY_MIN_MS, reportEveryMs || limits.REPORT_EVERY_MS);
        alive();
        onDrain(drain, drainOrder);
        if (migrateSessions.length > 0) onMigrate?.(migrateSessions);
        this.#answered(true);
      }
    } finally {
      ended.abort();
      this.#answered(false);
    }
  }

  /** One report, its answer, a pause, the next. An answer that does not come ends the stream, to be opened again. */
  async *#reports(signal: AbortSignal, ended: AbortController) {
    while (!signal.aborted) {
      const last = this.#stopping;
      this.#hurry = new AbortController();
      const sessions = this.#changes.take();
      const answered = this.#answer(signal);
      yield this.#report(sessions);
      if (!(await answered)) return ended.abort();
      this.#changes.taken();
      if (last) {
        this.#last();
        return;
      }
      if (!this.#changes.more) await pause(this.#options.clock, this.#everyMs, signal, this.#hurry.signal);
    }
  }

  #answer(signal: AbortSignal): Promise<boolean> {
    const over = new AbortController();
    const answered = new Promise<boolean>((resolve) => {
      this.#answered = resolve;
    });
    const late = pause(this.#options.clock, limits.REPORT_ANSWER_MS, signal, over.signal);
    return Promise.race([answered, late.then(() => false)]).finally(() => over.abort());
  }

  #report(sessions: readonly SessionInfo[]): MessageInitShape<typeof ReportInstanceRequestSchema> {
    const asOfWallMs = BigInt(Math.round(this.#options.clock.wallMs()));
    return { status: this.#options.status(), sessions: sessions.map((info) => ({ info, asOfWallMs, stale: false })) };
  }
}

interface Told {
  readonly text: string;
  readonly atNs: number;
}

/** Which sessions have news: those whose state is another than was told, or was told too long ago to be believed. */
class SessionChanges {
  readonly #book: SessionBook;
  readonly #clock: Clock;
  readonly #told = new Map<string, Told>();
  readonly #ended = new Map<string, SessionInfo>();
  #sent: SessionInfo[] = [];
  /** Not all of them fitted the last report. */
  more = false;

  constructor(book: SessionBook, clock: Clock) {
    this.#book = book;
    this.#clock = clock;
  }

  /** A new stream: all is told again. */
  again(): void {
    this.#told.clear();
    this.#sent = [];
  }

  take(): readonly SessionInfo[] {
    const nowNs = this.#clock.nowNs();
    const live: SessionInfo[] = [];
    for (const info of this.#book.report()) {
      if (info.state === SessionState.ENDED) this.#end(info);
      else if (this.#hasNews(info, nowNs)) live.push(info);
    }
    const all = [...this.#ended.values(), ...live];
    this.#sent = all.slice(0, limits.REPORT_SESSIONS_MAX);
    this.more = all.length > this.#sent.length;
    for (const info of this.#sent) this.#told.set(nameOf(info), { text: textOf(info), atNs: nowNs });
    return this.#sent;
  }

  /** The registry has what was last given. */
  taken(): void {
    for (const info of this.#sent) {
      if (info.state !== SessionState.ENDED) continue;
      this.#ended.delete(nameOf(info));
      this.#told.delete(nameOf(info));
    }
    this.#sent = [];
  }

  #end(info: SessionInfo): void {
    this.#ended.set(nameOf(info), info);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > limits.ENDED_SESSIONS_KEPT_MAX && oldest !== undefined) this.#ended.delete(oldest);
  }

  #hasNews(info: SessionInfo, nowNs: number): boolean {
    const told = this.#told.get(nameOf(info));
    return (
      told === undefined || told.text !== textOf(info) || nowNs - told.atNs >= limits.REPORT_SESSION_AGAIN_MS * 1e6
    );
  }
}

function nameOf({ session }: SessionInfo): string {
  return sessionKey({ tenantId: session?.tenantId ?? "", sessionId: session?.sessionId ?? "" });
}

function textOf(info: SessionInfo): string {
  const { state, reconnecting, degraded, authorityEpoch, turns, openTurnNumber, recordingLevel } = info;
  return [state, reconnecting, degraded, authorityEpoch, turns, openTurnNumber, recordingLevel].join();
}
