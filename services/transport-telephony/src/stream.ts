/** One stream of the carrier: its order, its messages, its end. Nothing that comes in may throw or be kept unbounded. */
import { msToNs } from "@rspp/base/brand";
import type { Result } from "@rspp/base/result";
import type { Clock } from "@rspp/ports/clock";
import { ascii, mayPass, type Problem } from "@rspp/transport/problem";
import type { WebSocket } from "ws";
import type { CallStream, TelephoneCall } from "./call.ts";
import { limits } from "./limits.ts";
import { type CloseCode, closeCodeOf, closeCodes, closeReason } from "./refusal.ts";
import {
  type CarrierMessage,
  clearMessage,
  markMessage,
  mediaMessage,
  parseCarrierMessage,
  type StartMessage,
} from "./twilio/messages.ts";

export interface StreamHost {
  readonly clock: Clock;
  /** Opens or resumes the call that the stream is for, and attaches `stream` to it. */
  open(start: StartMessage, stream: CarrierStream): Promise<Result<TelephoneCall, Problem>>;
  refused(why: Problem, stream: CarrierStream): void;
  closed(stream: CarrierStream, code: number): void;
}

export interface StreamCounts {
  messagesIn: number;
  messagesOut: number;
  badMessages: number;
  /** After `stop`, which ends a stream. */
  lateMessages: number;
}

type State = "connecting" | "connected" | "opening" | "open" | "stopped" | "closed";

/** From the handshake to an open session, whatever verifier and runtime do. */
const OPENING_MS = 30_000;

export class CarrierStream implements CallStream {
  readonly counts: StreamCounts = { messagesIn: 0, messagesOut: 0, badMessages: 0, lateMessages: 0 };
  call: TelephoneCall | null = null;
  readonly #socket: WebSocket;
  readonly #host: StreamHost;
  readonly #early: CarrierMessage[] = [];
  readonly #sinceNs: number;
  #streamSid = "";
  #state: State = "connecting";
  #closeNs = 0;

  constructor(socket: WebSocket, host: StreamHost) {
    this.#socket = socket;
    this.#host = host;
    this.#sinceNs = host.clock.nowNs();
    socket.on("message", (data, binary) => this.#message(String(data), binary));
    // What the socket itself refuses ends in a close event with its code.
    socket.on("error", () => {});
    socket.on("close", (code) => this.#gone(code));
  }

  /** Not open yet. */
  waiting(): boolean {
    return this.#state === "connecting" || this.#state === "connected" || this.#state === "opening";
  }

  media(payload: Uint8Array): void {
    this.#send(mediaMessage(this.#streamSid, payload));
  }

  mark(name: string): void {
    this.#send(markMessage(this.#streamSid, name));
  }

  clear(): void {
    this.#send(clearMessage(this.#streamSid));
  }

  close(code: CloseCode, text: string): void {
    if (this.#state === "closed" || this.#closeNs > 0) return;
    this.#closeNs = this.#host.clock.nowNs();
    this.#socket.close(code, ascii(text));
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Looks at what time has done. */
  tick(): void {
    const nowNs = this.#host.clock.nowNs();
    if (this.#closeNs > 0) {
      if (nowNs - this.#closeNs > msToNs(limits.CLOSE_GRACE_MS)) this.#socket.terminate();
      return;
    }
    const waitedNs = nowNs - this.#sinceNs;
    const early = this.#state === "connecting" || this.#state === "connected";
    if (early && waitedNs > msToNs(limits.START_DEADLINE_MS)) {
      this.close(
        closeCodes.deadline,
        `deadline_exceeded: send connected and start within ${limits.START_DEADLINE_MS} ms`,
      );
    } else if (this.#state === "opening" && waitedNs > msToNs(OPENING_MS)) {
      this.close(closeCodes.tryLater, "deadline_exceeded: the session was not opened in time; try again");
    } else if (this.#socket.bufferedAmount > limits.BUFFERED_BYTES_MAX) {
      this.close(closeCodes.slow, "slow_client: too much waits unread");
    }
  }

  /** A refusal that ends the stream. */
  refuse(why: Problem): void {
    if (this.#state === "closed" || this.#closeNs > 0) return;
    this.#host.refused(why, this);
    this.close(closeCodeOf(why, mayPass(why)), closeReason(why));
  }

  #send(text: string): void {
    if (this.#state !== "open" || this.#closeNs > 0) return;
    this.counts.messagesOut += 1;
    this.#socket.send(text);
  }

  /** Whatever comes in, a defect included, ends at most this stream. */
  #message(text: string, binary: boolean): void {
    if (this.#closeNs > 0 || this.#state === "closed") return;
    this.counts.messagesIn += 1;
    try {
      if (binary) return this.close(closeCodes.wrongKind, "frame: is a binary message; send JSON texts");
      const message = parseCarrierMessage(text);
      if (message.ok) this.#take(message.value);
      else this.#bad(message.error);
    } catch {
      this.close(closeCodes.internal, "runtime_internal_error: report it with the call's SID");
    }
  }

  #take(message: CarrierMessage): void {
    switch (this.#state) {
      case "connecting":
        if (message.event !== "connected")
          return this.refuse(outOfOrder(message.event, "The first message is connected."));
        this.#state = "connected";
        return;
      case "connected":
        if (message.event !== "start") return this.refuse(outOfOrder(message.event, "The second message is start."));
        return this.#open(message);
      case "opening":
        if (this.#early.length >= limits.EARLY_MESSAGES_MAX) return this.refuse({ reason: "deadline_exceeded" });
        this.#early.push(message);
        return;
      case "open":
        return this.#heed(message);
      default:
        this.counts.lateMessages += 1;
    }
  }

  #heed(message: CarrierMessage): void {
    if (message.event === "connected" || message.event === "start") {
      return this.#bad(outOfOrder(message.event, "It comes once, at the start of a stream."));
    }
    if (message.streamSid !== this.#streamSid) {
      return this.#bad({ reason: "session_ref_unknown", remedy: "Send the streamSid of this stream's start." });
    }
    switch (message.event) {
      case "media":
        // The outbound track is what this adapter sent.
        if (message.track === "inbound") this.call?.media(message.chunk, message.timestampMs, message.payload);
        return;
      case "dtmf":
        return this.call?.digit(message.digit);
      case "mark":
        return this.call?.marked(message.name);
      case "stop":
        this.#state = "stopped";
        this.call?.hangUp("caller_hangup");
        return this.close(closeCodes.done, "stop: the call is over");
    }
  }

  #open(start: StartMessage): void {
    this.#streamSid = start.streamSid;
    this.#state = "opening";
    void this.#host.open(start, this).then((opened) => {
      if (this.#state !== "open" && !opened.ok) return this.refuse(opened.error);
      for (const message of this.#early.splice(0)) this.#take(message);
    });
  }

  /** The call speaks through this stream from now on; false when it has gone meanwhile. */
  attachTo(call: TelephoneCall): boolean {
    this.call = call;
    if (this.#state !== "opening" || this.#closeNs > 0) return false;
    this.#state = "open";
    call.attach(this);
    return true;
  }

  /** Passed over; a carrier that sends nothing else is sent away. */
  #bad(why: Problem): void {
    this.counts.badMessages += 1;
    const lenient = this.#state === "open" || this.#state === "stopped";
    if (!lenient || this.counts.badMessages >= limits.BAD_MESSAGES_MAX) return this.refuse(why);
    this.#host.refused(why, this);
  }

  #gone(code: number): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#early.length = 0;
    this.#host.closed(this, code);
  }
}

function outOfOrder(event: string, remedy: string): Problem {
  return { reason: "out_of_order", remedy: `${event} came out of order. ${remedy}` };
}
