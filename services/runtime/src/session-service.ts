/** `rspp.runtime.v1.SessionService`: looking at and steering the sessions of this instance. */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { CancelScope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import type { Page, SessionKey } from "@rspp/gen/rspp/common/v1/reference_pb";
import { TurnOrigin } from "@rspp/gen/rspp/event/v1/control_pb";
import { CancelMode, SecondProposal } from "@rspp/gen/rspp/pipeline/v1/arbitration_pb";
import type { SessionInfo } from "@rspp/gen/rspp/runtime/v1/session_pb";
import {
  type CancelScopeRequest,
  type CaptureSessionRequest,
  type EndSessionRequest,
  type HandOverSessionRequest,
  type ListSessionsRequest,
  type ProposeTurnRequest,
  SessionService,
  type WatchSessionRequest,
  EventKind as WireKind,
} from "@rspp/gen/rspp/runtime/v1/session_service_pb";
import type { RecordingLevel } from "@rspp/kernel/recording";
import type { Clock } from "@rspp/ports/clock";
import { type RpcError, rpcError } from "@rspp/rpc/errors";
import { type RpcRoute, route } from "@rspp/rpc/route";
import { claimsOfCall } from "@rspp/rpc/token-interceptor";
import { runtimeEventId } from "@rspp/wire/kernel-event";
import { levelNames } from "@rspp/wire/names";
import { reasonFromWire } from "@rspp/wire/reason";
import { limits } from "./limits.ts";
import type { Migrations } from "./migrations.ts";
import type { EventKind } from "./observers.ts";
import type { RuntimeSession, SayOptions } from "./runtime.ts";
import { type KnownSession, newestFirst, type SessionBook, type SessionPlace } from "./session-service-book.ts";
import { IdempotencyKeys } from "./session-service-keys.ts";
import { planMessages } from "./session-service-plans.ts";
import { eventAfter, watchSession } from "./session-service-watch.ts";

export interface SessionServiceOptions {
  readonly book: SessionBook;
  readonly clock: Clock;
  /** Default: none of its sessions can go on elsewhere. */
  readonly migrations?: Migrations;
  /** Events that wait for a watcher. Default WATCH_QUEUE_ITEMS_MAX. */
  readonly watchCapacity?: number;
}

const domain = "runtime";
const pageSizeDefault = 100;

const kindsByNumber: ReadonlyMap<WireKind, EventKind> = new Map([
  [WireKind.AUDIO, "audio"],
  [WireKind.TEXT, "text"],
  [WireKind.CONTROL, "control"],
  [WireKind.METRICS, "metrics"],
  [WireKind.DEBUG, "debug"],
  [WireKind.ERROR, "error"],
]);
const kindsDefault: readonly EventKind[] = ["text", "control", "metrics", "error"];

export function sessionRoute(options: SessionServiceOptions): RpcRoute {
  const service = new Service(options);
  return route(SessionService, {
    listSessions: (ask, { values }) => service.list(ask, claimsOfCall(values)?.sessionId ?? null),
    getSession: ({ session }) => {
      const known = service.known(session);
      return { info: known.info, ...(known.live === null ? {} : planMessages(known.live)) };
    },
    watchSession: (ask, { signal }) => service.watch(ask, signal),
    proposeTurn: (ask) => service.propose(ask),
    cancelScope: (ask) => service.cancel(ask),
    endSession: (ask) => service.end(ask),
    captureSession: (ask) => service.capture(ask),
    handOverSession: (ask) => service.handOver(ask),
  });
}

class Service {
  readonly #options: SessionServiceOptions;
  readonly #keys = new IdempotencyKeys(limits.IDEMPOTENCY_KEYS_MAX);

  constructor(options: SessionServiceOptions) {
    this.#options = options;
  }

  /** @param only the session of a caller who shows its token: he sees no other (F-101). */
  list({ tenantId, page }: ListSessionsRequest, only: string | null) {
    const all = [...this.#options.book.list(tenantId)];
    const sessions = only === null ? all : all.filter(({ session }) => session?.sessionId === only);
    const after = pageStart(page);
    const from = after === null ? 0 : sessions.findIndex((info) => newestFirst(info, after) > 0);
    const size = Math.min(page?.size || pageSizeDefault, limits.LIST_SESSIONS_MAX);
    const part = from < 0 ? [] : sessions.slice(from, from + size);
    const last = part.at(-1);
    const more = last !== undefined && from + size < sessions.length;
    return { sessions: part, nextPageToken: more ? pageToken(last) : "" };
  }

  /** @throws RpcError `session_not_found`, also for another tenant's. */
  known(key: SessionKey | undefined): KnownSession {
    const { tenantId = "", sessionId = "" } = key ?? {};
    const known = this.#options.book.find(tenantId, sessionId);
    if (known !== null) return known;
    throw rpcError(ErrorReason.SESSION_NOT_FOUND, { domain, metadata: { session: sessionId } });
  }

  /** @throws RpcError `session_ended` as well. */
  #live(key: SessionKey | undefined): RuntimeSession {
    const { live } = this.known(key);
    if (live !== null) return live;
    throw rpcError(ErrorReason.SESSION_ENDED, { domain, metadata: { session: key?.sessionId ?? "" } });
  }

  async *watch(ask: WatchSessionRequest, signal: AbortSignal) {
    const session = this.#live(ask.session);
    const asked = ask.kinds.flatMap((kind) => kindsByNumber.get(kind) ?? []);
    const { clock, watchCapacity } = this.#options;
    const capacity = watchCapacity === undefined ? {} : { capacity: watchCapacity };
    const kinds = asked.length === 0 ? kindsDefault : [...new Set(asked)];
    const batches = watchSession(session, { clock, kinds, debugForMs: ask.debugForMs, signal, ...capacity });
    for await (const { events, dropped } of batches) yield { events, dropped: BigInt(dropped) };
  }

  /** F-076. */
  capture({ session: key, level, durationMs }: CaptureSessionRequest) {
    const session = this.#live(key);
    const name = levelNames.name(level) as RecordingLevel;
    const taken = session.capture({ level: name, forMs: durationMs });
    if (!taken.ok) throw fieldRefused("duration_ms", taken.error.detail);
    const { policyId, untilWallMs } = taken.value;
    return { info: this.known(key).info, policyId, untilWallMs: BigInt(untilWallMs) };
  }

  /** Begun when it answers; what becomes of it the session's own status tells. */
  handOver({ session, targetInstance: target, deadlineMs }: HandOverSessionRequest): { info: SessionInfo } {
    const { config } = this.#live(session);
    const ask = { reason: "migration", target, deadlineMs: deadlineMs || limits.HANDOVER_DEADLINE_MS } as const;
    const begun = this.#options.migrations?.begin(config, ask) ?? null;
    if (begun === null) {
      const remedy = "Its adapter runs in the runtime's own process: end the call, or let it finish.";
      throw rpcError(ErrorReason.SESSION_ENDED, { domain, remedy, metadata: { session: config.sessionId } });
    }
    return { info: this.known(session).info };
  }

  propose(ask: ProposeTurnRequest): Promise<{ proposalEventId: string }> {
    const session = this.#live(ask.session);
    const origin = originOf(ask.origin);
    const options = sayOptions(ask);
    return this.#once(session, `propose:${ask.idempotencyKey}`, async () => {
      let refused: RpcError | null = null;
      const key = `propose:${ask.idempotencyKey}`;
      const text = ask.say === "" ? null : ask.say;
      const reason = text === null ? "" : "say";
      const told = await eventAfter(
        session,
        this.#options.clock,
        limits.PROPOSAL_TOLD_MS,
        (event) => event.signal === "turn_open_proposed" && event.emitter === origin && event.reason === reason,
        () => {
          const taken = session.propose({ origin, key, text, ...options });
          if (!taken.ok) refused = fieldRefused("say", taken.error.detail);
        },
      );
      if (refused !== null) throw refused;
      return eventId(told, ask.idempotencyKey);
    }).then((proposalEventId) => ({ proposalEventId }));
  }

  cancel(ask: CancelScopeRequest): Promise<{ cancelEventId: string }> {
    const session = this.#live(ask.session);
    const command = scopeCommand(ask);
    const reason = reasonFromWire(ask.reason);
    const asked = ["cancel", "cancel_requested"];
    const mode = modeOf(ask.mode);
    return this.#once(session, `cancel:${ask.idempotencyKey}`, async () => {
      const told = await eventAfter(
        session,
        this.#options.clock,
        limits.PROPOSAL_TOLD_MS,
        (event) => asked.includes(event.signal) && event.emitter === "operator" && event.reason === reason,
        () => session.operator(command, { turn: ask.turnNumber || session.view().openTurn, reason, ...mode }),
      );
      return eventId(told, ask.idempotencyKey);
    }).then((cancelEventId) => ({ cancelEventId }));
  }

  async end({ session: key, reason, drainMs }: EndSessionRequest): Promise<{ info: SessionInfo }> {
    const { info, live } = this.known(key);
    // Asked twice, it is over all the same.
    if (live === null) return { info };
    const word = reasonFromWire(reason);
    const { clock } = this.#options;
    if (drainMs === 0) {
      live.operator("end", { reason: word });
      await live.ended;
    } else {
      live.operator(reason === Reason.AGENT_HANGUP ? "hang_up" : "drain", { reason: word });
      const atNs = asMonoNs(clock.nowNs() + msToNs(drainMs));
      const late = clock.timerAt(atNs, () => live.operator("end", { reason: "drain_deadline" }));
      void live.ended.then(() => late.clear());
      await takenIn(live, clock);
    }
    return { info: this.known(key).info };
  }

  /** Calls of one session that wait for an event do so one after another, since events do not name their call. */
  #once(session: RuntimeSession, key: string, work: () => Promise<string>): Promise<string> {
    return this.#keys.once(session, key, work);
  }
}

/** Waits, shortly, until a session that was told to drain does. */
async function takenIn(session: RuntimeSession, clock: Clock): Promise<void> {
  if (session.view().phase !== "active") return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      timer.clear();
      subscription?.close();
      resolve();
    };
    const subscription = session.events.subscribe({ kinds: ["debug"], onReady: done });
    const timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(limits.PROPOSAL_TOLD_MS)), done);
    void session.ended.then(done);
  });
}

/** Where the session could not tell in time what became of it, the call's own key names it. */
function eventId(told: { readonly seq: number } | null, key: string): string {
  return told === null ? `k-${key}`.slice(0, 128) : runtimeEventId(told.seq);
}

function originOf(origin: TurnOrigin): "operator" | "api" {
  if (origin === TurnOrigin.OPERATOR) return "operator";
  if (origin === TurnOrigin.API) return "api";
  throw fieldRefused("origin", "a proposal from outside has origin operator or api");
}

/** How a text is to be said. */
function sayOptions({ say, uninterruptible, second, hangUp }: ProposeTurnRequest): SayOptions {
  if (hangUp && say === "") throw fieldRefused("hang_up", "hangs up after a text: give `say`, or end the session");
  if (second === SecondProposal.DROP)
    throw fieldRefused("second", "is queue or preempt: leave it out for the policy's");
  return {
    ...(uninterruptible ? { uninterruptible } : {}),
    ...(second === SecondProposal.QUEUE ? { second: "queue" } : {}),
    ...(second === SecondProposal.PREEMPT ? { second: "preempt" } : {}),
    ...(hangUp ? { hangUp } : {}),
  };
}

/** F-041: left out, the session's policy decides. */
function modeOf(mode: CancelMode): { mode?: "hard" | "soft" } {
  if (mode === CancelMode.SOFT) return { mode: "soft" };
  return mode === CancelMode.HARD ? { mode: "hard" } : {};
}

function scopeCommand({ scope, targetId }: CancelScopeRequest): "cancel_turn" | "cancel_session" {
  if (targetId !== "") throw fieldRefused("target_id", "a session or turn has none: leave it out");
  if (scope === CancelScope.TURN) return "cancel_turn";
  if (scope === CancelScope.SESSION) return "cancel_session";
  throw fieldRefused("scope", "from outside, a turn or the session can be cancelled: use turn or session");
}

function fieldRefused(field: string, message: string): RpcError {
  return rpcError(ErrorReason.SCHEMA_VALIDATION_ERROR, { domain, violations: [{ field, rule: "supported", message }] });
}

function pageToken({ startedWallMs, session }: SessionInfo): string {
  return Buffer.from(`${startedWallMs}:${session?.sessionId ?? ""}`).toString("base64url");
}

/** What the page before ended with. */
function pageStart(page: Page | undefined): SessionPlace | null {
  if (page === undefined || page.token === "") return null;
  const [, started, sessionId] = /^(\d{1,16}):(.+)$/s.exec(Buffer.from(page.token, "base64url").toString()) ?? [];
  if (started === undefined || sessionId === undefined) {
    throw fieldRefused("page.token", "is no token of an earlier answer: begin without one");
  }
  return { startedWallMs: BigInt(started), session: { sessionId } };
}
