/** The agents of rooms: which session is in which room, and how they come in (F-083, F-088). */
import { err, ok, type Result } from "@rspp/base/result";
import { sessionKey } from "@rspp/base/session-key";
import type { Clock } from "@rspp/ports/clock";
import type { SessionOpener, TokenClaims } from "@rspp/ports/session-opener";
import type { AuditEntry } from "@rspp/transport/audit";
import { limits as shared } from "@rspp/transport/limits";
import type { SessionCounts } from "@rspp/transport/metrics";
import { fieldProblem, type Problem } from "@rspp/transport/problem";
import { SessionDesk } from "@rspp/transport/session-desk";
import type { TokenVerifier } from "@rspp/transport/token-verifier";
import type { AgentRoom, RoomListener } from "./agent-room.ts";
import { limits } from "./limits.ts";
import { RoomCall, type RoomCallCounts } from "./room-call.ts";
import type { RoomTokens } from "./room-tokens.ts";

export interface LiveKitTransportOptions {
  readonly clock: Clock;
  readonly verifier: TokenVerifier;
  readonly openSession: SessionOpener;
  readonly audit?: (entry: AuditEntry) => void;
  readonly tokens: Pick<RoomTokens, "agent" | "caller">;
  /** LiveKit server, for the adapter and for callers. */
  readonly url: string;
  readonly clientUrl: string;
  readonly sessionsMax?: number;
  readonly resumeWithinMs?: number;
  createRoom(listener: RoomListener): AgentRoom;
}

export interface JoinAsked {
  readonly token: string;
  readonly room: string;
  readonly callerIdentity: string;
  readonly callerWithinMs: number;
}

export interface Joined {
  readonly tenant: string;
  readonly session: string;
  readonly url: string;
  readonly room: string;
  readonly agentIdentity: string;
  readonly callerIdentity: string;
  readonly callerToken: string;
}

export interface LiveKitStats extends SessionCounts, RoomCallCounts {
  /** Agents in rooms, their callers there or expected. */
  rooms: number;
}

export class LiveKitTransport {
  readonly #options: LiveKitTransportOptions;
  readonly #desk: SessionDesk<RoomCall>;
  /** By tenant and session; a join under way is in it, so that one asked for twice comes once. */
  readonly #calls = new Map<string, Promise<Result<RoomCall, Problem>>>();
  readonly #agents = new Set<RoomCall>();
  readonly #counts: RoomCallCounts = { framesIn: 0, framesOut: 0, dropped: 0, badSignals: 0, rejoins: 0 };
  #draining = false;

  constructor(options: LiveKitTransportOptions) {
    this.#options = options;
    this.#desk = new SessionDesk(options);
  }

  async join(asked: JoinAsked): Promise<Result<Joined, Problem>> {
    const joined = await this.#join(asked);
    if (joined.ok) return joined;
    this.#desk.count(joined.error.reason);
    return joined;
  }

  session(id: string): RoomCall | undefined {
    return this.#desk.find(id);
  }

  stats(): LiveKitStats {
    const calls = this.#desk.calls();
    return {
      sessions: this.#agents.size,
      rooms: this.#agents.size,
      waiting: calls.filter((call) => call.isAway()).length,
      resumed: this.#desk.resumed,
      givenUp: this.#desk.givenUp,
      refused: this.#desk.refused(),
      ...this.#counts,
    };
  }

  drain(): void {
    this.#draining = true;
    this.#desk.drain();
  }

  async close(): Promise<void> {
    this.drain();
    await Promise.all(this.#calls.values());
    for (const call of [...this.#agents]) call.shutDown("shutdown");
  }

  async #join(asked: JoinAsked): Promise<Result<Joined, Problem>> {
    const verified = await this.#desk.verify(asked.token);
    if (!verified.ok) return verified;
    const claims = verified.value;
    const key = sessionKey({ tenantId: claims.tenant, sessionId: claims.session });
    const known = this.#calls.get(key);
    if (known === undefined) {
      const refused = this.#noRoom();
      if (refused !== null) return err(refused);
      this.#calls.set(key, this.#enter(asked, claims, key));
    }
    const call = (await this.#calls.get(key)) ?? err({ reason: "not_found" });
    if (!call.ok) return call;
    const { room } = call.value.options;
    if (asked.room !== "" && asked.room !== room) {
      const remedy = "leave room out, or name the one it is in";
      return err(fieldProblem("room", "room.same", "is another room than the session's agent is in", remedy));
    }
    return ok(await this.#answer(call.value));
  }

  #noRoom(): Problem | null {
    if (this.#draining) return { reason: "draining", remedy: "Ask for a new route." };
    const { sessionsMax = shared.SESSIONS_MAX } = this.#options;
    return this.#calls.size >= sessionsMax ? { reason: "capacity_exhausted" } : null;
  }

  async #enter(asked: JoinAsked, claims: TokenClaims, key: string): Promise<Result<RoomCall, Problem>> {
    const { clock, url, tokens, createRoom, resumeWithinMs = shared.RESUME_WITHIN_MS } = this.#options;
    const room = asked.room || claims.session;
    const { callerIdentity } = asked;
    try {
      const call = await RoomCall.join({
        ...{ clock, claims, token: asked.token, room, callerIdentity, resumeWithinMs },
        callerWithinMs: asked.callerWithinMs || limits.CALLER_WITHIN_MS,
        desk: this.#desk,
        counts: this.#counts,
        join: async (listener) => {
          const made = createRoom(listener);
          try {
            await made.join({ url, token: await tokens.agent(room, agentOf(claims)), callerIdentity });
          } catch (failure) {
            await made.leave();
            throw failure;
          }
          return made;
        },
        gone: (left) => {
          this.#agents.delete(left);
          this.#calls.delete(key);
        },
      });
      this.#agents.add(call);
      return ok(call);
    } catch {
      this.#calls.delete(key);
      const remedy =
        "The LiveKit server refused the agent or did not answer: check livekit_url, livekit_api_key and its secret.";
      return err({ reason: "dependency_unavailable", remedy, metadata: { dependency: "livekit" } });
    }
  }

  async #answer({ options: { claims, room, callerIdentity } }: RoomCall): Promise<Joined> {
    const identity = callerIdentity || `caller-${claims.session}`;
    return {
      tenant: claims.tenant,
      session: claims.session,
      url: this.#options.clientUrl || this.#options.url,
      room,
      agentIdentity: agentOf(claims),
      callerIdentity: identity,
      callerToken: await this.#options.tokens.caller(room, identity),
    };
  }
}

function agentOf({ session }: TokenClaims): string {
  return `agent-${session}`;
}
