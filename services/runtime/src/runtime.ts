import { createHmac, randomBytes } from "node:crypto";
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { type SessionName, sessionKey } from "@rspp/base/session-key";
import type { ProposalOptions } from "@rspp/kernel/dialogue-state";
import type { InputBody } from "@rspp/kernel/input";
import type { JournalEntry } from "@rspp/kernel/replay";
import type { SessionConfig } from "@rspp/kernel/session-config";
import type { Clock } from "@rspp/ports/clock";
import type { NodeHostPort } from "@rspp/ports/node-host";
import type { ProviderPort } from "@rspp/ports/provider";
import type { SessionEnd, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import type { VadPort } from "@rspp/ports/vad";
import { fillPlaceholders } from "@rspp/spec/placeholders";
import type { MetricRegistry } from "@rspp/telemetry/metric-registry";
import type { SpanSource } from "@rspp/telemetry/spans";
import type { HandoverPort } from "./durable/handover.ts";
import type { StatePort } from "./durable/store.ts";
import { type KernelPort, kernel } from "./kernel-port.ts";
import { limits } from "./limits.ts";
import { type Logger, silentLogger } from "./logger.ts";
import { Metrics } from "./metrics.ts";
import { collectRuntime } from "./metrics-runtime.ts";
import { GraphMetrics } from "./node-metrics.ts";
import type { Observers } from "./observers.ts";
import { Overhead } from "./overhead.ts";
import { TAG_SESSION } from "./payload-store.ts";
import { createScheduler, type Scheduler, type Task } from "./scheduler.ts";
import { SessionHost } from "./session-host.ts";
import type { Capture, CaptureRequest } from "./session-recording.ts";
import { safeReason } from "./session-trace-reasons.ts";
import type { SessionEnded, SessionStats } from "./session-types.ts";
import type { SessionView } from "./session-view.ts";
import type { Spool, SpoolMeasures } from "./spool/spool.ts";

export interface RuntimeOptions {
  clock: Clock;
  providers: ProviderPort;
  /** Null where no pipeline has a VAD node. */
  vad: VadPort | null;
  /** Where custom nodes run; belongs to the caller. Default: none, and a pipeline with such a node is refused. */
  nodes?: NodeHostPort;
  /** Belongs to the caller, who closes it after the runtime. */
  spool: Spool;
  logger?: Logger;
  /** Runs something in a later turn of the event loop. Default setImmediate. */
  defer?: (run: () => void) => void;
  /** How long a session may stay without its adapter's `connected`, milliseconds. Default SESSION_CONNECT_MS. */
  connectMs?: number;
  /** Default SESSIONS_MAX. */
  maxSessions?: number;
  /** Key of a tenant's payload hashes at L1 and L2. Default: one made at random for this process. */
  tenantKey?: (tenantId: string) => Uint8Array;
  /** Where durable state is kept (kernel.md §8). Default: nowhere. */
  state?: StatePort;
  /** Default: the kernel. */
  kernel?: KernelPort;
  /** Where it counts what it measures, and who takes its spans. Default: a registry of its own, and nobody. */
  telemetry?: { readonly metrics: MetricRegistry; readonly spans: SpanSource | null };
  /** Real time in milliseconds, by which its own work is timed (F-052). Default performance.now. */
  nowMs?: () => number;
}

export interface OpenSession {
  config: SessionConfig;
  transport: TransportEnd;
  /** Keeps the whole journal in memory, at any recording level, e.g. to replay it. */
  keepJournal?: boolean;
  /** Texts that the plan names by payload ref (positive), such as a system prompt. */
  texts?: Readonly<Record<number, string>>;
  /** `traceparent` of who opens it: its spans become that one's children. */
  traceparent?: string;
}

export interface RuntimeRefusal {
  code:
    | "sessions_full"
    | "draining"
    | "session_exists"
    | "recording_reservation"
    | "stale_epoch"
    | "vad_missing"
    | "node_package_missing"
    | "texts_too_large"
    | "text_invalid"
    | "capture_invalid"
    | "session_ended";
  /** What to do, for people. */
  detail: string;
}

export type OperatorCommand = Extract<InputBody, { type: "operator" }>["command"];
/** Inputs that come from the control plane, not from the adapter. */
export type SystemInput = Extract<InputBody, { type: "authority" | "snapshot" | "capacity" }>;

/** How a text is to be said, where not as the session's policy has it. */
export type SayOptions = Readonly<ProposalOptions>;

export interface TurnProposal extends SayOptions {
  readonly origin: "operator" | "api";
  readonly key: string;
  readonly text: string | null;
}

export interface RuntimeSession extends SessionEnd {
  readonly id: string;
  readonly config: SessionConfig;
  receive(message: TransportIngress): void;
  /** The agent says `text` in a turn of its own, of SAY_CHARS_MAX characters at most, with session variables filled in. */
  say(text: string, options?: SayOptions): Result<{ ref: number; chars: number }, RuntimeRefusal>;
  /** A text that the plan or a proposal may name by ref; it lives as long as the session. */
  registerText(text: string): Result<{ ref: number; chars: number }, RuntimeRefusal>;
  /**
   * Proposes a turn that says `text`, or, where it is null, what the pipeline makes of the conversation. A key that was
   * seen before opens no second turn.
   */
  propose(proposal: TurnProposal): Result<null, RuntimeRefusal>;
  /** See {@link handOver}; null where no durable state is kept. */
  readonly handover: HandoverPort | null;
  /** Records this session at a higher level for a while (F-076); the level moves at a turn boundary. */
  capture(request: CaptureRequest): Result<Capture, RuntimeRefusal>;
  operator(command: OperatorCommand, options?: { turn?: number; reason?: string; mode?: "hard" | "soft" }): void;
  update(input: SystemInput): void;
  /** Empty unless `keepJournal` was asked for. */
  journal(): readonly JournalEntry[];
  readonly events: Observers;
  /** As it stands now; a later call gives a later state. */
  view(): SessionView;
  stats(): SessionStats;
  /** Settles when the session is over; never rejects. */
  readonly ended: Promise<SessionEnded>;
}

export interface RuntimeStats {
  sessions: number;
  opened: number;
  ended: number;
  refused: Readonly<Record<string, number>>;
  waiting: number;
  units: number;
  draining: boolean;
  spool: SpoolMeasures;
}

export interface Runtime {
  openSession(open: OpenSession): Result<RuntimeSession, RuntimeRefusal>;
  session(of: SessionName): RuntimeSession | null;
  sessions(): readonly RuntimeSession[];
  readonly metrics: Metrics;
  stats(): RuntimeStats;
  /** Takes no new session, lets the live ones finish, ends them at the deadline. @returns how many had to be ended. */
  drain(deadlineMs: number): Promise<number>;
  /** Ends all sessions, then the providers and the detector; the spool is synced and left open. */
  close(): Promise<void>;
}

interface Live {
  host: SessionHost;
  session: RuntimeSession;
}

export function createRuntime(options: RuntimeOptions): Runtime {
  return new RuntimeShell(options);
}

class RuntimeShell implements Runtime {
  readonly metrics: Metrics;
  private readonly shared: {
    readonly graphs: GraphMetrics;
    readonly overhead: Overhead;
    readonly spans: SpanSource | null;
  };
  private readonly options: RuntimeOptions;
  private readonly logger: Logger;
  private readonly defer: (run: () => void) => void;
  private readonly scheduler: Scheduler;
  private readonly tenantKey: (tenantId: string) => Uint8Array;
  /** By {@link sessionKey}: tenants know nothing of one another's ids. */
  private readonly live = new Map<string, Live>();
  private readonly refused = new Map<string, number>();
  private readonly stopMeasures: () => void;
  private opened = 0;
  private endedCount = 0;
  private draining = false;
  private emptied: (() => void)[] = [];

  constructor(options: RuntimeOptions) {
    this.options = options;
    this.logger = options.logger ?? silentLogger;
    this.defer = options.defer ?? ((run) => void setImmediate(run));
    this.metrics = new Metrics(options.telemetry?.metrics);
    const overhead = new Overhead(this.metrics, options.nowMs);
    this.shared = { graphs: new GraphMetrics(this.metrics), overhead, spans: options.telemetry?.spans ?? null };
    this.scheduler = createScheduler({ defer: this.defer, hold: () => options.clock.hold() });
    this.tenantKey = options.tenantKey ?? randomTenantKeys();
    const stopPressure = options.spool.onMeasures((measures) => {
      for (const { host } of this.live.values()) host.recording.pressure(measures);
    });
    const stopCollecting = collectRuntime(this.metrics, {
      stats: () => this.stats(),
      sessions: () => [...this.live.values()].map(({ host }) => host.measures),
    });
    this.stopMeasures = () => {
      stopPressure();
      stopCollecting();
    };
  }

  openSession(open: OpenSession): Result<RuntimeSession, RuntimeRefusal> {
    const refusal = this.refusalOf(open);
    if (refusal !== null) {
      this.refused.set(refusal.code, (this.refused.get(refusal.code) ?? 0) + 1);
      this.metrics.of.sessionsRefused.with(refusal.code).add();
      this.logger.warn({ session_id: open.config.sessionId, code: refusal.code }, "session refused");
      return err(refusal);
    }
    const { config } = open;
    const key = sessionKey(config);
    let settle: (end: SessionEnded) => void = () => {};
    const ended = new Promise<SessionEnded>((resolve) => {
      settle = resolve;
    });
    const work = { run: () => host.run(), more: () => host.more() };
    const task: Task = this.scheduler.add(config.tenantId, work);
    const { clock, providers, vad, spool } = this.options;
    const { transport, keepJournal = false, traceparent = null } = open;
    const host: SessionHost = new SessionHost(
      { config, transport, keepJournal, traceparent },
      {
        ...this.shared,
        clock,
        providers,
        vad,
        nodes: this.options.nodes ?? null,
        spool,
        state: this.options.state ?? null,
        kernel: this.options.kernel ?? kernel,
        metrics: this.metrics,
        logger: this.logger,
        defer: this.defer,
        connectMs: this.options.connectMs ?? limits.SESSION_CONNECT_MS,
        tenantKey: this.tenantKey,
        ready: () => task.ready(),
        ended: (end) => {
          task.remove();
          this.forget(key);
          this.metrics.of.sessionsEnded.with(safeReason(end.reason)).add();
          settle(end);
        },
      },
    );
    for (const [ref, text] of Object.entries(open.texts ?? {})) host.payloads.putTextAt(Number(ref), text, TAG_SESSION);
    const session = sessionOf(host, ended);
    this.live.set(key, { host, session });
    this.opened += 1;
    this.metrics.of.sessionsOpened.with().add();
    return ok(session);
  }

  session(of: SessionName): RuntimeSession | null {
    return this.live.get(sessionKey(of))?.session ?? null;
  }

  sessions(): readonly RuntimeSession[] {
    return [...this.live.values()].map(({ session }) => session);
  }

  stats(): RuntimeStats {
    return {
      sessions: this.live.size,
      opened: this.opened,
      ended: this.endedCount,
      refused: Object.fromEntries(this.refused),
      waiting: this.scheduler.waiting(),
      units: this.scheduler.units(),
      draining: this.draining,
      spool: this.options.spool.measures(),
    };
  }

  async drain(deadlineMs: number): Promise<number> {
    this.draining = true;
    this.logger.info({ sessions: this.live.size, deadline_ms: deadlineMs }, "runtime draining");
    for (const { session } of this.live.values()) session.operator("drain", { reason: "runtime_draining" });
    if (await this.empty(deadlineMs)) return 0;
    const left = this.live.size;
    for (const { host } of [...this.live.values()]) host.end("drain_deadline");
    await this.empty(Number.POSITIVE_INFINITY);
    return left;
  }

  async close(): Promise<void> {
    this.draining = true;
    for (const { host } of [...this.live.values()]) host.end("runtime_closed");
    await this.empty(Number.POSITIVE_INFINITY);
    this.stopMeasures();
    await this.options.providers.close();
    await this.options.vad?.close();
    await this.options.spool.sync();
  }

  private refusalOf(open: OpenSession): RuntimeRefusal | null {
    const { config, texts } = open;
    const max = this.options.maxSessions ?? limits.SESSIONS_MAX;
    if (this.draining) return { code: "draining", detail: "this runtime is being stopped: choose another" };
    if (this.live.size >= max)
      return { code: "sessions_full", detail: `all ${max} sessions are in use: choose another runtime` };
    if (this.live.has(sessionKey(config))) {
      return {
        code: "session_exists",
        detail: `session ${config.sessionId} is open already: end it or take another id`,
      };
    }
    const floor = this.options.spool.floor(config);
    if (config.authority.epoch < floor) {
      return { code: "stale_epoch", detail: `the session has been held under epoch ${floor}: ask for a new lease` };
    }
    if (this.options.vad === null && config.graph.nodes.some((node) => node.kind === "vad")) {
      return {
        code: "vad_missing",
        detail: "the pipeline has a VAD node and this runtime no detector: give createRuntime one",
      };
    }
    const missing = this.packageMissing(config);
    if (missing !== "") return { code: "node_package_missing", detail: missing };
    const chars = Object.values(texts ?? {}).reduce((sum, text) => sum + text.length, 0);
    if (chars > limits.TEXT_CHARS_MAX) {
      return { code: "texts_too_large", detail: `texts have ${chars} characters: ${limits.TEXT_CHARS_MAX} at most` };
    }
    if (this.options.spool.reserve(config, config.recording.evidenceQuotaBytes)) return null;
    const detail = "the spool cannot set aside this session's evidence: free disk space or raise its budget";
    return { code: "recording_reservation", detail };
  }

  /** F-121: the very package the plan was made with, or none. */
  private packageMissing({ graph }: SessionConfig): string {
    for (const { id, kind, package: name = "", packageDigest } of graph.nodes) {
      if (kind !== "custom") continue;
      const found = this.options.nodes?.describe(name) ?? null;
      if (found === null)
        return `node ${id} needs package ${name}, which is not here: list its folder, or the service that runs it, in node_packages`;
      if (found.digest !== packageDigest)
        return `package ${name} of node ${id} is not the one the pipeline was compiled with: give it a new version`;
    }
    return "";
  }

  private forget(key: string): void {
    this.live.delete(key);
    this.endedCount += 1;
    if (this.live.size > 0) return;
    const ready = this.emptied;
    this.emptied = [];
    for (const resolve of ready) resolve();
  }

  /** True once no session is left; false at the deadline. */
  private empty(deadlineMs: number): Promise<boolean> {
    if (this.live.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const { clock } = this.options;
      const timer = Number.isFinite(deadlineMs)
        ? clock.timerAt(asMonoNs(clock.nowNs() + msToNs(deadlineMs)), () => resolve(false))
        : null;
      this.emptied.push(() => {
        timer?.clear();
        resolve(true);
      });
    });
  }
}

function sessionOf(host: SessionHost, ended: Promise<SessionEnded>): RuntimeSession {
  let said = 0;
  const registerText = (given: string, most: number): Result<{ ref: number; chars: number }, RuntimeRefusal> => {
    if (host.isOver()) return err({ code: "session_ended", detail: "the session is over" });
    const text = typeof given === "string" ? fillPlaceholders(given, host.config.variables) : "";
    if (text.trim() === "" || text.length > most) {
      return err({ code: "text_invalid", detail: `give a text that is not blank, of at most ${most} characters` });
    }
    const handle = host.payloads.putText(text, TAG_SESSION);
    if (handle === null) return err({ code: "text_invalid", detail: "the session holds too much already" });
    return ok({ ref: handle.ref, chars: text.length });
  };
  return {
    id: host.sessionId,
    config: host.config,
    receive: (message) => void host.receive(message),
    registerText: (text) => registerText(text, limits.TEXT_CHARS_MAX),
    say(text, options = {}) {
      const stored = registerText(text, limits.SAY_CHARS_MAX);
      if (!stored.ok) return stored;
      const { ref, chars } = stored.value;
      said += 1;
      const say = { spans: [{ ref, from: 0, to: chars }], chars };
      host.submit({ type: "proposal", origin: "api", key: `say:${said}`, say, reason: "say", ...options });
      return stored;
    },
    propose({ origin, key, text, ...options }) {
      let say: { spans: { ref: number; from: number; to: number }[]; chars: number } | null = null;
      if (text !== null) {
        const stored = registerText(text, limits.SAY_CHARS_MAX);
        if (!stored.ok) return stored;
        const { ref, chars } = stored.value;
        say = { spans: [{ ref, from: 0, to: chars }], chars };
      } else if (host.isOver()) return err({ code: "session_ended", detail: "the session is over" });
      host.submit({ type: "proposal", origin, key, say, reason: say === null ? "" : "say", ...options });
      return ok(null);
    },
    capture(request) {
      if (host.isOver()) return err({ code: "session_ended", detail: "the session is over" });
      const taken = host.recording.capture(request);
      return taken.ok ? taken : err({ code: "capture_invalid", detail: taken.error });
    },
    operator(command, { turn = 0, reason = "operator", mode } = {}) {
      host.operator(command, turn, reason, mode);
    },
    update: (input) => host.submit(input),
    handover: host.handover(),
    journal: () => host.journalEntries(),
    events: host.observers,
    view: () => ({ ...host.viewed.view }),
    stats: () => host.stats(),
    ended,
  };
}

function randomTenantKeys(): (tenantId: string) => Uint8Array {
  const secret = randomBytes(32);
  return (tenantId) => createHmac("sha256", secret).update(tenantId).digest();
}
