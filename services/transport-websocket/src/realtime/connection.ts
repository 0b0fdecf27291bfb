/** One socket of a Realtime client: its key, its events in their order, errors in its format, the end (F-084, F-086). */
import { msToNs } from "@rspp/base/brand";
import type { Result } from "@rspp/base/result";
import type { Clock } from "@rspp/ports/clock";
import { limits as shared } from "@rspp/transport/limits";
import { ascii } from "@rspp/transport/problem";
import type { WebSocket } from "ws";
import type { ConnectionCounts } from "../connection.ts";
import { limits as socketLimits } from "../limits.ts";
import { type CloseCode, closeCodes } from "../refusal.ts";
import type { RealtimeCall, RealtimeLink } from "./call.ts";
import { type Json, readClientEvent } from "./client-events.ts";
import { realtimeLimits as limits } from "./limits.ts";
import { invalid, type RealtimeProblem, type RealtimeRefusal } from "./problem.ts";

export interface RealtimeHost {
  readonly clock: Clock;
  /** Opens the session of this connection, and begins its call. */
  open(link: RealtimeLink): Promise<Result<RealtimeCall, RealtimeRefusal>>;
  refused(why: RealtimeRefusal, connection: RealtimeConnection): void;
  closed(connection: RealtimeConnection, code: number): void;
}

/** From the handshake to an open session, whatever verifier, registry and runtime do. */
const OPENING_MS = 2 * shared.OPENER_DEADLINE_MS;

export class RealtimeConnection implements RealtimeLink {
  readonly counts: ConnectionCounts = { framesIn: 0, framesOut: 0, badFrames: 0, bytesIn: 0, bytesOut: 0, writeNs: 0 };
  call: RealtimeCall | null = null;
  readonly #socket: WebSocket;
  readonly #host: RealtimeHost;
  readonly #sinceNs: number;
  #waiting: string[] = [];
  #waitingChars = 0;
  /** An event that takes its time is being done: the others wait, in their order. */
  #busy = true;
  #garbage = 0;
  #events = 0;
  #closeNs = 0;
  #lastInNs: number;
  #gone = false;

  constructor(socket: WebSocket, host: RealtimeHost) {
    this.#socket = socket;
    this.#host = host;
    this.#sinceNs = host.clock.nowNs();
    this.#lastInNs = this.#sinceNs;
    socket.on("message", (data, binary) => this.#message(data, binary));
    socket.on("pong", () => {
      this.#lastInNs = host.clock.nowNs();
    });
    // What the socket itself refuses (too large, bad UTF-8, bad framing) ends in a close event with its code.
    socket.on("error", () => {});
    socket.on("close", (code) => {
      this.#gone = true;
      this.#waiting = [];
      host.closed(this, code);
    });
    void this.#open();
  }

  waiting(): boolean {
    return this.call === null && !this.#gone;
  }

  send(event: Json & { readonly type: string }): void {
    if (this.#gone || this.#closeNs > 0) return;
    if (this.#socket.bufferedAmount > limits.UNREAD_BYTES_MAX)
      return this.close(closeCodes.slow, "slow_client: too much waits unread; read faster, then connect again");
    this.#events += 1;
    const text = JSON.stringify({ event_id: `event_${this.#events}`, ...event });
    this.counts.framesOut += 1;
    this.counts.bytesOut += text.length;
    this.#socket.send(text);
  }

  fail(problem: RealtimeProblem, eventId: string | null = null): void {
    const { type, code, message, param = null } = problem;
    this.send({ type: "error", error: { type, code, message, param, event_id: eventId } });
  }

  close(code: CloseCode, text: string): void {
    if (this.#gone || this.#closeNs > 0) return;
    this.#closeNs = this.#host.clock.nowNs();
    this.#socket.close(code, ascii(text));
  }

  /** Told in a last event, and again in the close frame. */
  refuse(why: RealtimeRefusal, eventId: string | null = null): void {
    if (this.#gone || this.#closeNs > 0) return;
    this.#host.refused(why, this);
    this.fail(why.problem, eventId);
    this.close(why.code, `${why.problem.type}.${why.problem.code}: ${why.problem.message}`);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Looks at what time has done. Clients of this protocol send no pings of their own: they answer ours. */
  tick(): void {
    const nowNs = this.#host.clock.nowNs();
    if (this.#closeNs > 0) {
      if (nowNs - this.#closeNs > msToNs(socketLimits.CLOSE_GRACE_MS)) this.#socket.terminate();
      return;
    }
    if (this.call === null && nowNs - this.#sinceNs > msToNs(OPENING_MS)) {
      const message = "The session was not opened in time: try again.";
      const problem = { type: "server_error", code: "deadline_exceeded", message } as const;
      return this.refuse({ problem, code: closeCodes.tryLater });
    }
    const quietNs = nowNs - this.#lastInNs;
    if (quietNs > msToNs(socketLimits.IDLE_MS)) return this.#socket.terminate();
    if (quietNs > msToNs(socketLimits.IDLE_MS / 3)) this.#socket.ping();
  }

  async #open(): Promise<void> {
    const opened = await this.#host.open(this);
    if (!opened.ok) return this.refuse(opened.error);
    this.call = opened.value;
    if (this.#gone || this.#closeNs > 0) return opened.value.detach(false);
    await this.#goOn();
  }

  #message(data: unknown, binary: boolean): void {
    this.#lastInNs = this.#host.clock.nowNs();
    if (this.#closeNs > 0) return;
    const bytes = data as Buffer;
    this.counts.framesIn += 1;
    this.counts.bytesIn += bytes.length;
    if (binary) {
      const problem = invalid("invalid_message", "The message is binary; events are JSON in text messages.");
      return this.refuse({ problem, code: closeCodes.wrongKind });
    }
    const text = bytes.toString("utf8");
    this.#waitingChars += text.length;
    if (this.#waiting.length >= limits.EARLY_EVENTS_MAX || this.#waitingChars > limits.EARLY_BYTES_MAX) {
      const problem = invalid("rate_limited", "Too much came before the session was open; wait for session.created.");
      return this.refuse({ problem, code: closeCodes.badFrame });
    }
    this.#waiting.push(text);
    if (!this.#busy) void this.#goOn();
  }

  /** Whatever comes in, a defect included, ends at most this connection. */
  async #goOn(): Promise<void> {
    this.#busy = true;
    try {
      for (let text = this.#waiting.shift(); text !== undefined; text = this.#waiting.shift()) {
        this.#waitingChars -= text.length;
        const waits = this.#take(text);
        if (waits !== null) await waits;
      }
    } catch {
      const message = "A defect of the server; report it with the session id.";
      const problem = { type: "server_error", code: "runtime_internal_error", message } as const;
      this.refuse({ problem, code: closeCodes.internal });
    } finally {
      this.#busy = false;
    }
  }

  #take(text: string): Promise<void> | null {
    const { call } = this;
    if (call === null || this.#closeNs > 0) return null;
    const { event, eventId } = readClientEvent(text);
    if (!event.ok) {
      this.#bad(event.error, eventId, event.error.garbage === true);
      return null;
    }
    if (event.value.type === "session.update") {
      return call.update(event.value.session).then((done) => {
        if (!done.ok) this.#bad(done.error, eventId, false);
      });
    }
    const done = call.take(event.value);
    if (!done.ok) this.#bad(done.error, eventId, false);
    return null;
  }

  /** The event is refused, the session goes on; a client that sends no events at all is sent away. */
  #bad(problem: RealtimeProblem, eventId: string | null, garbage: boolean): void {
    this.counts.badFrames += 1;
    if (garbage) this.#garbage += 1;
    if (this.#garbage >= limits.GARBAGE_MAX) return this.refuse({ problem, code: closeCodes.badFrame }, eventId);
    this.fail(problem, eventId);
  }
}
