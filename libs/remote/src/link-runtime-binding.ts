/**
 * One binding of a session as the runtime reads it: the order of its messages, and what breaks it off. Whatever is wrong
 * costs this session alone (kernel.md §6, §7).
 */
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { type ErrorDetail, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { OpenSession } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { TimerHandle } from "@rspp/ports/clock";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { TransportIngress } from "@rspp/ports/transport";
import type { LinkBroken, LinkIncoming, LinkSessionHandlers, LinkSessionPort } from "@rspp/rpc/link-api";
import type { LinkPeer } from "@rspp/rpc/link-server";
import type { PositionedMessage } from "@rspp/wire/link-control";
import { fieldError, toErrorDetail, type WireError } from "@rspp/wire/wire-error";
import { LinkCodec, type LinkItem } from "./link-codec.ts";
import { audioFromLink, controlFromLink, deliveryFromLink, fenceAcksFromLink } from "./link-ingress.ts";
import { limits } from "./link-limits.ts";
import { errorItem } from "./link-notes.ts";
import { observedOf } from "./link-observe.ts";
import { openProblem, readOpen } from "./link-open.ts";
import type { RuntimeShared } from "./link-runtime-shared.ts";
import { endReasonOf } from "./link-words.ts";

/** The session behind a binding that was admitted. */
export interface BoundSession {
  readonly epoch: number;
  /** Control message `number` of the session, all bindings counted; false when it was acted on before. */
  isNew(number: number): boolean;
  audio(message: Extract<TransportIngress, { kind: "audio" }>): void;
  control(message: Exclude<TransportIngress, { kind: "audio" }>): void;
  observe(kinds: readonly SessionNote["kind"][]): void;
  floorKnown(epoch: number): void;
  fenceAt(sequence: number): { turn: number; generation: number } | undefined;
  /** The binding ended: by the peer in order, by this end for what the peer sent, or with its pair. */
  ended(binding: RuntimeBinding, how: "closed" | "broken_off" | "pair_dead", reason: string): void;
}

export class RuntimeBinding implements LinkSessionHandlers {
  readonly port: LinkSessionPort;
  readonly peer: LinkPeer;
  readonly codec: LinkCodec;
  readonly #shared: RuntimeShared;
  #phase: "new" | "opening" | "open" | "over" = "new";
  #session: BoundSession | null = null;
  /** Control messages of the session before this binding; its first message is `open` and is not counted. */
  #base = 0;
  #deadline: TimerHandle | null;
  #errors = 0;

  constructor(shared: RuntimeShared, peer: LinkPeer, port: LinkSessionPort) {
    this.port = port;
    this.peer = peer;
    this.#shared = shared;
    this.codec = new LinkCodec(port.constants, () => shared.clock.wallMs());
    const at = monoPlusNs(shared.clock.nowNs(), msToNs(limits.LINK_OPEN_DEADLINE_MS));
    this.#deadline = shared.clock.timerAt(at, () => {
      const message = `did not come within ${limits.LINK_OPEN_DEADLINE_MS} ms of the bind`;
      this.refuse(openProblem(ErrorReason.DEADLINE_EXCEEDED, shared.domain, "open", message));
    });
  }

  get over(): boolean {
    return this.#phase === "over";
  }

  onEvent(event: LinkIncoming): void {
    if (event.kind === "event" && event.lane === "data") this.port.consumed(event.audioUs, event.bytes);
    if (this.#phase === "over" || event.kind === "gap" || event.kind === "skipped") return;
    if (event.kind === "positioned" && event.payload.kind === "positioned" && event.payload.message.case === "open") {
      return this.#opens(event.payload.message.value);
    }
    const session = this.#session;
    if (this.#phase !== "open" || session === null) return this.#early(event);
    switch (event.kind) {
      case "event":
        return this.#media(session, event);
      case "overtaking":
        return this.#overtaking(session, event);
      case "positioned":
        return this.#positioned(session, event);
    }
  }

  onClosed(reason: string, by: "self" | "peer"): void {
    if (by === "peer") this.#end("closed", reason);
  }

  onBroken({ reason }: LinkBroken): void {
    this.#end(reason === "pair_dead" ? "pair_dead" : "broken_off", reason);
  }

  /** The session takes it from here; `base`: its control messages acted on so far. */
  admit(session: BoundSession, base: number): void {
    this.#session = session;
    this.#base = base;
    this.#phase = "open";
  }

  /** Events of this binding are no longer of interest: another took its place. */
  retire(reason: string): void {
    this.#session = null;
    this.#close(reason);
  }

  /** Tells the adapter why, and ends the binding at both ends. */
  refuse(detail: ErrorDetail): void {
    if (this.#phase === "over") return;
    const { tenant, session } = this.port.constants;
    this.#shared.refused({ tenant, session, peer: this.peer }, detail);
    this.send(errorItem(this.codec, ++this.#errors, detail));
    const bound = this.#session;
    const reason = endReasonOf(detail);
    this.#close(reason);
    bound?.ended(this, "broken_off", reason);
  }

  /** An orderly end, after what is queued. */
  close(reason: string): void {
    this.#close(reason);
  }

  send(item: LinkItem) {
    return item.kind === "media"
      ? this.port.sendMedia(item.envelope, item.urgent)
      : this.port.sendControl(item.payload, item.how);
  }

  #close(reason: string): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.#clearDeadline();
    this.port.unbind(reason);
  }

  #end(how: "closed" | "broken_off" | "pair_dead", reason: string): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.#clearDeadline();
    this.#session?.ended(this, how, reason);
  }

  #clearDeadline(): void {
    this.#deadline?.clear();
    this.#deadline = null;
  }

  #opens(message: OpenSession): void {
    const { domain } = this.#shared;
    if (this.#phase !== "new") {
      return this.refuse(
        openProblem(ErrorReason.OUT_OF_ORDER, domain, "open", "was said before", "Open a binding once."),
      );
    }
    const ask = readOpen(message);
    if (!ask.ok) {
      const { field, message: said } = ask.error;
      const remedy = "Ask the lease service for a grant and send it as it is.";
      return this.refuse(openProblem(ErrorReason.LEASE_GRANT_INVALID, domain, field, said, remedy));
    }
    this.#phase = "opening";
    this.#clearDeadline();
    this.#shared.open(this, ask.value);
  }

  #early(event: LinkIncoming): void {
    const field = event.kind === "event" ? "media" : "control";
    const remedy = "Send open first, and nothing else before it was answered with opened.";
    const said = this.#phase === "new" ? "came before open" : "came before opened was answered";
    this.refuse(openProblem(ErrorReason.OUT_OF_ORDER, this.#shared.domain, field, said, remedy));
  }

  #media(session: BoundSession, event: Extract<LinkIncoming, { kind: "event" }>): void {
    if (event.lane !== "data") {
      return this.#wrong(fieldError("lane", "ingress.lane", "an adapter sends no telemetry here", "send audio"));
    }
    if (event.turn !== null) {
      return this.#wrong(fieldError("turn_number", "ingress.turn", "the caller's audio has no turn", "set it to 0"));
    }
    const message = audioFromLink(this.codec, event.envelope);
    if (message.ok) session.audio(message.value);
    else this.#wrong(message.error);
  }

  #overtaking(session: BoundSession, event: Extract<LinkIncoming, { kind: "overtaking" }>): void {
    if (!session.isNew(this.#base + event.seq - 1)) return this.#shared.duplicate();
    const { payload } = event;
    if (payload.kind !== "event") {
      return this.#wrong(
        fieldError("payload", "ingress.kind", "fences and floors come from the runtime", "send signals"),
      );
    }
    const message = controlFromLink(this.codec, payload.envelope, "overtaking");
    if (message.ok) session.control(message.value);
    else this.#wrong(message.error);
  }

  #positioned(session: BoundSession, event: Extract<LinkIncoming, { kind: "positioned" }>): void {
    if (!session.isNew(this.#base + event.seq - 1)) return this.#shared.duplicate();
    const { payload, forced } = event;
    if (forced) this.#shared.forced();
    if (payload.kind === "positioned") return this.#message(session, payload.message);
    if (payload.kind === "overtaking") return;
    const message = controlFromLink(this.codec, payload.envelope, "positioned");
    if (message.ok) session.control(message.value);
    else this.#wrong(message.error);
  }

  #message(session: BoundSession, message: PositionedMessage): void {
    switch (message.case) {
      case "delivery": {
        if (this.#ahead(session, message.value.authorityEpoch)) return;
        return session.control(deliveryFromLink(message.value));
      }
      case "fenceAck": {
        if (this.#ahead(session, message.value.authorityEpoch)) return;
        const acks = fenceAcksFromLink(message.value, (sequence) => session.fenceAt(sequence));
        for (const ack of acks) session.control(ack);
        return;
      }
      case "observe":
        return session.observe(observedOf(message.value));
      case "floorAck": {
        if (this.#ahead(session, message.value.floorEpoch)) return;
        return session.floorKnown(Number(message.value.floorEpoch));
      }
      default:
        this.#wrong(fieldError("payload", "ingress.kind", `an adapter sends no ${message.case}`, "leave it out"));
    }
  }

  /** An epoch that nobody here has announced cannot be acknowledged. */
  #ahead(session: BoundSession, epoch: bigint): boolean {
    if (epoch <= BigInt(session.epoch)) return false;
    const said = `is above ${session.epoch}, the newest that was announced`;
    const remedy = "Report the epoch of the output, as it came.";
    const { domain } = this.#shared;
    this.refuse(openProblem(ErrorReason.AUTHORITY_EPOCH_MISMATCH, domain, "authority_epoch", said, remedy));
    return true;
  }

  #wrong(error: WireError): void {
    this.refuse(toErrorDetail(error, this.#shared.domain));
  }
}
