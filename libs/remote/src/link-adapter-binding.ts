/** One binding of a session as the adapter reads it: the answer to `open`, and what the runtime says. */
import { asMonoNs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { type ErrorDetail, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { Clock, TimerHandle } from "@rspp/ports/clock";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import { errorRule } from "@rspp/rpc/errors";
import type { LinkBroken, LinkIncoming, LinkSessionHandlers, LinkSessionPort } from "@rspp/rpc/link-api";
import type { PositionedMessage } from "@rspp/wire/link-control";
import { LinkCodec, type LinkItem } from "./link-codec.ts";
import { eventNumber, fenceFromLink, mediaFromLink, wordsFromLink } from "./link-egress.ts";
import { limits } from "./link-limits.ts";
import { noteFromLink } from "./link-notes.ts";
import { handoverOf, type Reattached, reattachedOf, takenOf } from "./link-open.ts";
import { PartJoiner, partIn } from "./link-parts.ts";
import type { HandoverAsk, TakenOver } from "./link-session-types.ts";

/** The session whose binding it is. */
export interface BindingOwner {
  /** From here on it is the session's binding. */
  opened(binding: AdapterBinding, reattached: Reattached | null, taken: TakenOver | null): void;
  /** Bound under an epoch below the floor: what still comes on it is refused; the next binding brings it again. */
  isStale(binding: AdapterBinding): boolean;
  heard(message: TransportEgress): void;
  isNewEvent(number: number, overtaking: boolean): boolean;
  fenced(turn: number, generation: number, sequence: number): void;
  noted(note: SessionNote): void;
  reconnectWithin(ms: number): void;
  floor(grant: SignedGrant): void;
  /** The runtime asks that it goes on elsewhere. */
  handover(ask: HandoverAsk): void;
  closed(binding: AdapterBinding, reason: string): void;
  broken(binding: AdapterBinding, pairDead: boolean, reason: string): void;
}

export type Refused = Pick<ErrorDetail, "reason" | "remedy">;
export type Answer = Result<Reattached | null, Refused>;

export class AdapterBinding implements LinkSessionHandlers {
  readonly port: LinkSessionPort;
  readonly codec: LinkCodec;
  readonly #owner: BindingOwner;
  readonly #joiner = new PartJoiner();
  readonly #early: Extract<LinkIncoming, { kind: "event" }>[] = [];
  #opened = false;
  #left = false;
  #error: ErrorDetail | null = null;
  #answered: Answer | null = null;
  #settle: ((answer: Answer) => void) | null = null;

  constructor(owner: BindingOwner, port: LinkSessionPort, wallMs: () => number) {
    this.port = port;
    this.#owner = owner;
    this.codec = new LinkCodec(port.constants, wallMs);
  }

  /** The runtime's answer to `open`, or a refusal at the deadline. */
  answer(clock: Clock, deadlineNs: number): Promise<Answer> {
    if (this.#answered !== null) return Promise.resolve(this.#answered);
    return new Promise((resolve) => {
      let timer: TimerHandle | null = null;
      this.#settle = (answer) => {
        timer?.clear();
        this.#settle = null;
        resolve(answer);
      };
      timer = clock.timerAt(asMonoNs(Math.max(0, Math.ceil(deadlineNs))), () =>
        this.#answer(err(refused(ErrorReason.DEADLINE_EXCEEDED))),
      );
    });
  }

  send(item: LinkItem) {
    return item.kind === "media"
      ? this.port.sendMedia(item.envelope, item.urgent)
      : this.port.sendControl(item.payload, item.how);
  }

  /** Ends it at both ends; nothing of it is heard any more. */
  leave(reason: string): void {
    this.#answer(err(refused(ErrorReason.DEADLINE_EXCEEDED)));
    this.#left = true;
    this.port.unbind(reason);
  }

  onEvent(event: LinkIncoming): void {
    // The audio is taken as soon as it is here: what plays it has its own bounds.
    if (event.kind === "event" && event.lane === "data") this.port.consumed(event.audioUs, event.bytes);
    if (this.#left || (this.#opened && this.#owner.isStale(this))) return;
    switch (event.kind) {
      case "event":
        return this.#event(event);
      case "overtaking":
        return this.#overtaking(event);
      case "positioned":
        if (event.payload.kind === "positioned") this.#message(event.payload.message);
        else if (event.payload.kind === "event") this.#words(event.payload.envelope, false);
        return;
      default:
        return;
    }
  }

  onClosed(reason: string, by: "self" | "peer"): void {
    if (by === "self") return;
    this.#answer(err(this.#error ?? refused(ErrorReason.DEPENDENCY_UNAVAILABLE)));
    if (!this.#left) this.#owner.closed(this, reason);
  }

  onBroken({ reason }: LinkBroken): void {
    const full = reason === "sessions_full" ? ErrorReason.CAPACITY_EXHAUSTED : ErrorReason.DEPENDENCY_UNAVAILABLE;
    this.#answer(err(this.#error ?? refused(full)));
    if (!this.#left) this.#owner.broken(this, reason === "pair_dead", reason);
  }

  #answer(answer: Answer): void {
    if (this.#answered !== null) return;
    this.#answered = answer;
    this.#settle?.(answer);
  }

  /** Media has a connection of its own and may come before the answer that it followed. */
  #event(event: Extract<LinkIncoming, { kind: "event" }>): void {
    if (this.#opened) return this.#take(event);
    this.#early.push(event);
    if (this.#early.length > limits.LINK_EARLY_ITEMS_MAX) this.#wrong("media came without opened");
  }

  #take({ lane, envelope }: Extract<LinkIncoming, { kind: "event" }>): void {
    if (lane === "telemetry") {
      const note = noteFromLink(envelope);
      if (note !== null) this.#owner.noted(note);
      return;
    }
    const cut = partIn(envelope);
    const message =
      cut === null ? mediaFromLink(this.codec, envelope) : mediaFromLink(this.codec, envelope, cut.sequence);
    if (!message.ok) return this.#wrong("media without its place");
    const whole = cut === null ? message.value : this.#joiner.take(message.value, cut.part);
    if (whole !== null) this.#owner.heard(whole);
  }

  #overtaking({ cutoff, seq, payload }: Extract<LinkIncoming, { kind: "overtaking" }>): void {
    if (!this.#opened) return this.#wrong("control came before opened");
    if (payload.kind === "event") return this.#words(payload.envelope, true);
    if (payload.kind === "positioned") return;
    const { message } = payload;
    if (message.case === "floor") {
      if (message.value.grant !== undefined) this.#owner.floor(message.value.grant);
      return;
    }
    const fence = fenceFromLink(cutoff, message);
    this.#owner.fenced(fence.turn, fence.generation, seq);
    this.#owner.heard(fence);
  }

  #message(message: PositionedMessage): void {
    if (message.case === "handover" && this.#opened) return this.#owner.handover(handoverOf(message.value));
    if (message.case !== "opened" || this.#opened) return this.#wrong(`${message.case} out of order`);
    this.#opened = true;
    const { reattached, reconnectMs, takeover } = message.value;
    if (reconnectMs !== undefined) this.#owner.reconnectWithin(reconnectMs);
    const standing = reattached === undefined ? null : reattachedOf(reattached);
    this.#answer(ok(standing));
    this.#owner.opened(this, standing, takeover === undefined ? null : takenOf(takeover));
    for (const event of this.#early.splice(0)) if (!this.#left && !this.#owner.isStale(this)) this.#take(event);
  }

  #words(envelope: Envelope, overtaking: boolean): void {
    if (envelope.payload.case === "error") return this.#failed(envelope);
    if (!this.#opened) return this.#wrong("control came before opened");
    if (!this.#owner.isNewEvent(eventNumber(envelope), overtaking)) return;
    const message = wordsFromLink(this.codec, envelope);
    if (message.ok) this.#owner.heard(message.value);
    else this.#wrong("a signal of no runtime");
  }

  /** Before the answer it is the answer; later it says why the end comes, or what went wrong meanwhile. */
  #failed(envelope: Envelope): void {
    if (envelope.payload.case === "error") this.#error = envelope.payload.value.detail ?? null;
    if (!this.#opened) return;
    const note = noteFromLink(envelope);
    if (note !== null) this.#owner.noted(note);
  }

  /** The runtime broke a rule: its session ends here, no other does. */
  #wrong(what: string): void {
    const { remedy } = errorRule(ErrorReason.OUT_OF_ORDER);
    this.#answer(err({ reason: ErrorReason.OUT_OF_ORDER, remedy: `${what}: ${remedy}` }));
    this.#left = true;
    this.port.unbind("invalid_event");
    this.#owner.broken(this, false, "invalid_event");
  }
}

export function refused(reason: ErrorReason): Refused {
  return { reason, remedy: errorRule(reason).remedy };
}
