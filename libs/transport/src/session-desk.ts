/**
 * Where callers are admitted: the token, room for one more, one session per token, and the runtime asked within a deadline
 * (F-088, F-091, F-156). It keeps the table of sessions that are open here.
 */
import { asMonoNs, msToNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { sessionKey } from "@rspp/base/session-key";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type {
  OpenedSession,
  OpenRefusal,
  SessionOpener,
  SessionRequest,
  SessionSeen,
  TokenClaims,
} from "@rspp/ports/session-opener";
import type { AuditEntry } from "./audit.ts";
import { limits } from "./limits.ts";
import type { Problem } from "./problem.ts";
import type { SessionLine } from "./session-line.ts";
import type { TokenVerifier } from "./token-verifier.ts";

export interface SessionDeskOptions {
  readonly clock: Clock;
  readonly verifier: TokenVerifier;
  readonly openSession: SessionOpener;
  /** Default SESSIONS_MAX: it may be lowered, not raised. */
  readonly sessionsMax?: number;
  /** Told of everyone who comes, is refused, cut off, or comes back. */
  readonly audit?: (entry: AuditEntry) => void;
}

/** A call of the adapter's kind, around its line. */
export interface DeskCall {
  readonly line: SessionLine;
}

export class SessionDesk<C extends DeskCall> {
  readonly #options: SessionDeskOptions;
  /** By tenant and session. */
  readonly #calls = new Map<string, C>();
  /** Sessions whose runtime is being asked: a token that comes twice at once opens one. */
  readonly #opening = new Set<string>();
  readonly #refused = new Map<string, number>();
  #draining = false;
  resumed = 0;
  /** Sessions of other adapters that went on here. */
  adopted = 0;
  givenUp = 0;

  constructor(options: SessionDeskOptions) {
    this.#options = options;
  }

  /** Whom the token is for. `lapsed`: an expired one still tells, for a caller who comes back with the session's own key. */
  async verify(token: string, { lapsed = false }: { lapsed?: boolean } = {}): Promise<Result<TokenClaims, Problem>> {
    const verified = await this.#options.verifier.verify(token).catch(() => null);
    if (verified === null) return err({ reason: "dependency_unavailable" });
    if (verified.ok && verified.value.expiresWallMs > this.#options.clock.wallMs()) return verified;
    const claims = verified.ok ? verified.value : verified.error.kind === "expired" ? verified.error.claims : null;
    const expired = verified.ok || verified.error.kind === "expired";
    // A call may outlast its token. The key of the session admits to that session and to nothing else.
    if (expired && claims !== null && lapsed) return ok(claims);
    return err({ reason: expired ? "token_expired" : "token_invalid" });
  }

  /**
   * Opens the session of a verified token. `make` builds the call once there is room; `opened` makes it heard (its line's
   * `open` was called; `connected` is the adapter's) before anyone else can find it. `adopt`: the session lives, another
   * adapter had it.
   */
  async open(
    { claims, token, formats, adopt }: Pick<SessionRequest, "claims" | "token" | "formats" | "adopt">,
    make: () => Promise<C>,
    opened: (call: C, session: OpenedSession) => void,
  ): Promise<Result<C, Problem>> {
    const name = nameOf(claims);
    const refused = this.#noRoom(name, adopt !== undefined);
    if (refused !== null) return err(refused);
    this.#opening.add(name);
    try {
      const call = await make();
      const session = await this.#ask(call, token, formats, adopt);
      if (!session.ok) {
        call.line.caller.close();
        return session;
      }
      this.#calls.set(name, call);
      call.line.open(session.value);
      opened(call, session.value);
      if (adopt !== undefined) this.adopted += 1;
      this.audit(adopt === undefined ? "opened" : "adopted", claims, "");
      return ok(call);
    } finally {
      this.#opening.delete(name);
    }
  }

  /** The call is over; called by it, once. */
  over(call: C, reason: string): void {
    const { claims } = call.line;
    const name = nameOf(claims);
    if (this.#calls.get(name) === call) this.#calls.delete(name);
    const lost = reason === "connection_lost";
    if (lost) this.givenUp += 1;
    this.audit(lost ? "given_up" : "closed", claims, reason);
  }

  /** Without a tenant: whosesoever session has the id. */
  find(session: string, tenant?: string): C | undefined {
    if (tenant !== undefined) return this.#calls.get(sessionKey({ tenantId: tenant, sessionId: session }));
    return [...this.#calls.values()].find((call) => call.line.claims.session === session);
  }

  /** A grant of the lease service: from now on the session believes only this epoch. False when it would lower it. */
  raiseEpoch(session: string, epoch: number, tenant?: string): boolean {
    return this.find(session, tenant)?.line.gate.raiseEpoch(epoch) ?? false;
  }

  calls(): C[] {
    return [...this.#calls.values()];
  }

  size(): number {
    return this.#calls.size;
  }

  /** Opens no more sessions; those that are open go on. */
  drain(): void {
    this.#draining = true;
  }

  /** Counts a refusal, by name of the catalogue. */
  count(reason: string): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
  }

  refused(): Record<string, number> {
    return Object.fromEntries(this.#refused);
  }

  audit(kind: AuditEntry["kind"], claims: TokenClaims | null, reason: string): void {
    const { audit, clock } = this.#options;
    audit?.({ kind, wallMs: clock.wallMs(), tenant: claims?.tenant ?? "", session: claims?.session ?? "", reason });
  }

  #noRoom(name: string, live: boolean): Problem | null {
    if (this.#draining) return { reason: "draining", remedy: live ? "Connect again." : "Ask for a new route." };
    if (this.#calls.has(name) || this.#opening.has(name)) {
      const remedy = "The session of this token is open: resume it with its key, or ask for a new route.";
      return { reason: "already_exists", remedy };
    }
    const { sessionsMax = limits.SESSIONS_MAX } = this.#options;
    const full = this.#calls.size + this.#opening.size >= Math.min(sessionsMax, limits.SESSIONS_MAX);
    return full ? { reason: "capacity_exhausted" } : null;
  }

  /** Asks the runtime, within a deadline; what it opens too late is ended. */
  async #ask(
    { line }: C,
    token: string,
    formats: SessionRequest["formats"],
    adopt: SessionSeen | undefined,
  ): Promise<Result<OpenedSession, Problem>> {
    const { claims } = line;
    const { clock, openSession } = this.#options;
    const raiseEpoch = (epoch: number): boolean => line.gate.raiseEpoch(epoch);
    const failed: Result<never, OpenRefusal> = err({
      reason: "runtime_internal_error",
      remedy: "Report it with the session id.",
    });
    const live = adopt === undefined ? {} : { adopt };
    const asked = openSession({ claims, token, transport: line, formats, raiseEpoch, ...live }).catch(() => failed);
    let timer: TimerHandle | undefined;
    const late = new Promise<null>((resolve) => {
      timer = clock.timerAt(asMonoNs(clock.nowNs() + msToNs(limits.OPENER_DEADLINE_MS)), () => resolve(null));
    });
    const opened = await Promise.race([asked, late]);
    timer?.clear();
    if (opened === null) {
      void asked.then((it) => it.ok && endAtOnce(it.value));
      return err({ reason: "deadline_exceeded", remedy: "The runtime did not answer: try again." });
    }
    if (!opened.ok) return err({ reason: opened.error.reason, remedy: opened.error.remedy.slice(0, 512) });
    return bound(claims, opened.value);
  }
}

/** The token binds all three (F-088): a session of anything else is none of this caller's. */
function bound(claims: TokenClaims, opened: OpenedSession): Result<OpenedSession, Problem> {
  const { tenant, sessionId, pipelineVersion } = opened;
  if (tenant === claims.tenant && sessionId === claims.session && pipelineVersion === claims.pipelineVersion) {
    return ok(opened);
  }
  endAtOnce(opened);
  const metadata = { bound: `${claims.tenant}/${claims.pipelineVersion}`.slice(0, 256) };
  return err({ reason: "permission_denied", metadata, remedy: "Ask the registry for a new route." });
}

function endAtOnce({ session, epoch }: OpenedSession): void {
  const head = { kind: "control", epoch, controlClass: "overtaking" } as const;
  session.receive({ ...head, sequence: 1, signal: "connected" });
  session.receive({
    kind: "control",
    epoch,
    controlClass: "positioned",
    sequence: 2,
    signal: "ended",
    lastMediaSequence: 0,
    reason: "refused",
  });
}

function nameOf({ tenant, session }: TokenClaims): string {
  return sessionKey({ tenantId: tenant, sessionId: session });
}
