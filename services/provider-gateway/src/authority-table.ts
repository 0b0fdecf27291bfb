import { sessionKey } from "@rspp/base/session-key";
import type { InvocationOpen } from "@rspp/ports/provider";

interface SessionAuthority {
  epoch: number;
  /** Highest generation seen by turn, oldest turn first. */
  generations: Map<number, number>;
}

const turnsMax = 8;

export type AuthorityVerdict = "admitted" | "stale_epoch" | "stale_fence";

/**
 * The highest epoch seen per session and the highest generation per turn (`kernel.md` §7). Bounded: the session unused
 * longest and a session's oldest turns are forgotten, which can only admit more, never refuse a rightful holder.
 */
export class AuthorityTable {
  readonly #sessions = new Map<string, SessionAuthority>();
  readonly #sessionsMax: number;

  constructor(sessionsMax: number) {
    this.#sessionsMax = sessionsMax;
  }

  get size(): number {
    return this.#sessions.size;
  }

  admit(request: Pick<InvocationOpen, "tenantId" | "sessionId" | "epoch" | "turn" | "generation">): AuthorityVerdict {
    const { tenantId = "", sessionId, epoch, turn, generation } = request;
    const key = sessionKey({ tenantId, sessionId });
    const known = this.#sessions.get(key) ?? { epoch, generations: new Map<number, number>() };
    this.#sessions.delete(key);
    this.#sessions.set(key, known);
    if (this.#sessions.size > this.#sessionsMax) {
      for (const oldest of this.#sessions.keys()) {
        this.#sessions.delete(oldest);
        break;
      }
    }
    if (epoch < known.epoch) return "stale_epoch";
    known.epoch = epoch;
    // Turn 0 is session-scoped work, which no output fence covers.
    if (turn === 0) return "admitted";
    const highest = known.generations.get(turn) ?? generation;
    if (generation < highest) return "stale_fence";
    known.generations.set(turn, generation);
    if (known.generations.size > turnsMax) known.generations.delete(Math.min(...known.generations.keys()));
    return "admitted";
  }
}
