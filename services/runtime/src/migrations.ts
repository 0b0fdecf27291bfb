/** Planned migrations of this instance's sessions (F-106, F-157): one at a time for each session, some at once for all. */
import { msToNs } from "@rspp/base/brand";
import { type SessionName, sessionKey } from "@rspp/base/session-key";
import type { Clock } from "@rspp/ports/clock";
import type { HandoverAsk } from "@rspp/remote/link-session-types";
import type { AdmissionRequest } from "./admission.ts";
import { type HandoverEnd, handOver } from "./durable/handover.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logger.ts";
import type { RuntimeSession } from "./runtime.ts";

export interface MigrationAsk {
  readonly reason: HandoverAsk["reason"];
  /** Runtime instance; "" for any. */
  readonly target: string;
  /** For the open turn, milliseconds. */
  readonly deadlineMs: number;
}

interface Held {
  readonly session: RuntimeSession;
  readonly ask: NonNullable<AdmissionRequest["handOver"]>;
  running: Promise<HandoverEnd> | null;
  /** A try that failed is not repeated before it. */
  againNs: number;
}

export class Migrations {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #held = new Map<string, Held>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** To be told of every session. One whose adapter cannot go on elsewhere stays. */
  opened(session: RuntimeSession, request: AdmissionRequest): void {
    const ask = request.handOver?.bind(request);
    if (ask === undefined || session.handover === null) return;
    const key = sessionKey(session.config);
    const held: Held = { session, ask, running: null, againNs: 0 };
    this.#held.set(key, held);
    void session.ended.then(() => {
      if (this.#held.get(key) === held) this.#held.delete(key);
    });
  }

  /** Begins one, or finds it begun. Null where the session is not here, or cannot go. */
  begin(of: SessionName, ask: MigrationAsk): Promise<HandoverEnd> | null {
    const held = this.#held.get(sessionKey(of));
    if (held === undefined) return null;
    if (held.running !== null) return held.running;
    if (this.#clock.nowNs() < held.againNs) return Promise.resolve("not_taken");
    const { session } = held;
    const where = { tenant_id: of.tenantId, session_id: of.sessionId, target: ask.target, reason: ask.reason };
    this.#logger.info(where, "session is to go on elsewhere");
    held.running = handOver({ ...ask, session, clock: this.#clock, ask: held.ask }).then((end) => {
      held.running = null;
      held.againNs = this.#clock.nowNs() + msToNs(limits.HANDOVER_AGAIN_MS);
      this.#logger.info({ ...where, end }, "migration ended");
      return end;
    });
    return held.running;
  }

  /** All that can go, HANDOVERS_MAX at once; settles when each was tried. @returns how many are still here. */
  async all(ask: MigrationAsk): Promise<number> {
    const waiting = [...this.#held.values()];
    const worker = async (): Promise<void> => {
      for (let held = waiting.shift(); held !== undefined; held = waiting.shift())
        await this.begin(held.session.config, ask);
    };
    await Promise.all(Array.from({ length: limits.HANDOVERS_MAX }, worker));
    return this.#held.size;
  }
}
