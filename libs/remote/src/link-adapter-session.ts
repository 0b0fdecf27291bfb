/**
 * One session at the adapter, over all its bindings: what the caller's transport says goes to the runtime, what the runtime
 * says to the transport. A pair that dies is made good on the next one while the runtime holds the session (kernel.md §7).
 */

import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { FloorAckSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { Clock } from "@rspp/ports/clock";
import type { OpenedSession, OpenRefusal, SessionNote, SessionRequest } from "@rspp/ports/session-opener";
import type { SessionEnd, TransportEgress, TransportIngress } from "@rspp/ports/transport";
import type { LinkSendError, SessionConstants } from "@rspp/rpc/link-api";
import { AdapterBinding, type Answer, type BindingOwner, refused } from "./link-adapter-binding.ts";
import type { LinkItem } from "./link-codec.ts";
import { Heard } from "./link-heard.ts";
import { ingressToLink } from "./link-ingress.ts";
import { limits } from "./link-limits.ts";
import { observeItem } from "./link-observe.ts";
import { openItem, type Reattached } from "./link-open.ts";
import type { PooledLink } from "./link-pool.ts";
import { type KeptAudio, type KeptSignal, Resend, type Signal } from "./link-resend.ts";
import type { GrantVerifier, OpenerNotice } from "./link-session-types.ts";
import { refusalOf } from "./link-words.ts";

export interface AdapterSessionInit {
  readonly clock: Clock;
  readonly request: SessionRequest;
  readonly instance: string;
  readonly adapterId: string;
  readonly grant: SignedGrant;
  readonly epoch: number;
  readonly link: PooledLink;
  readonly grants: GrantVerifier;
  readonly readyMs: number;
  readonly counts: AdapterCounts;
  readonly notice: (notice: OpenerNotice) => void;
  onOver(session: AdapterSession): void;
}

/** Counted over all sessions of an opener. */
export interface AdapterCounts {
  reattached: number;
  lost: number;
  duplicates: number;
  readonly unsent: Map<string, number>;
}

export class AdapterSession implements SessionEnd, BindingOwner {
  readonly #init: AdapterSessionInit;
  readonly #resend = new Resend();
  readonly #heard = new Heard();
  readonly #fences = new Map<string, number>();
  readonly #observers = new Map<(note: SessionNote) => void, readonly SessionNote["kind"][]>();
  #phase: "opening" | "open" | "away" | "over" = "opening";
  #epoch: number;
  #grant: SignedGrant;
  #binding: AdapterBinding | null = null;
  /** Opens in the place of `#binding`. */
  #next: AdapterBinding | null = null;
  #rebinding = false;
  #reconnectMs: number | null = null;
  #openTurn = { turn: 0, generation: 0, playedUs: 0 };
  #captured = 0;

  constructor(init: AdapterSessionInit) {
    this.#init = init;
    this.#epoch = init.epoch;
    this.#grant = init.grant;
  }

  /** Binds and opens; settles when the runtime has answered, or with a refusal at the deadline. */
  async open(deadlineNs: number): Promise<Result<OpenedSession, OpenRefusal>> {
    const answer = await this.#bind(deadlineNs, false);
    if (!answer.ok) {
      this.#over();
      return err(refusalOf(answer.error));
    }
    const { tenant, session, pipelineVersion } = this.#init.request.claims;
    return ok({
      session: this,
      epoch: this.#init.epoch,
      tenant,
      sessionId: session,
      pipelineVersion,
      ...(this.#reconnectMs === null ? {} : { reconnectMs: this.#reconnectMs }),
      observe: (kinds, tell) => this.#observe(kinds, tell),
    });
  }

  // --- the caller's transport speaks ---

  receive(message: TransportIngress): void {
    if (this.#phase === "over" || this.#phase === "opening") return;
    if (message.kind === "audio") {
      if (!Number.isSafeInteger(message.mediaUs)) return this.#unsent("audio");
      // Bytes are the transport's own again as soon as this has returned.
      const kept = this.#resend.audio({ ...message, bytes: new Uint8Array(message.bytes) });
      this.#captured = message.sequence;
      if (this.#speaks(message.epoch)) this.#sendAudio(kept);
      return;
    }
    if (message.kind === "delivery") this.#noteDelivery(message);
    this.#say(message, message.epoch);
  }

  #say(message: Signal, epoch: number): void {
    const kept = this.#resend.signal(message);
    if (kept === null) return this.#lost("control_overflow");
    // Reports carry the epoch of the output they are about.
    const speaks = message.kind === "control" ? this.#speaks(epoch) : this.#speaks(this.#epoch);
    if (speaks) this.#sendSignal(kept);
  }

  /** Whether the present binding takes a message of this epoch; what is newer waits for the next one. */
  #speaks(epoch: number): boolean {
    const binding = this.#binding;
    return this.#phase === "open" && !this.#rebinding && binding !== null && epoch <= binding.port.constants.epoch;
  }

  #sendAudio(kept: KeptAudio): void {
    const binding = this.#binding;
    if (binding === null) return;
    const item = ingressToLink(binding.codec, kept.message, () => 0);
    const sent = item.ok ? binding.send(item.value) : null;
    if (sent?.ok) kept.linkSeq = sent.value;
    else if (sent === null || !isAway(sent.error)) {
      kept.linkSeq = -1;
      this.#unsent("audio");
    }
    this.#resend.trim(binding.port.peerAcked);
  }

  #sendSignal(kept: KeptSignal): void {
    const binding = this.#binding;
    if (binding === null) return;
    const item = this.#signalItem(binding, kept.message);
    let sent = item.ok ? binding.send(item.value) : null;
    if (sent === null || (!sent.ok && !isAway(sent.error))) {
      this.#unsent(kept.message.kind);
      if (this.#resend.takeBack(kept)) return;
      // Its number is taken, and those of later ones follow from it: something that changes nothing goes in its place.
      sent = binding.send(observeItem(this.#observed()));
    }
    if (!sent.ok) return;
    kept.linkSeq = sent.value;
    this.#resend.trim(binding.port.peerAcked);
  }

  #signalItem({ codec }: AdapterBinding, message: Signal): Result<LinkItem, unknown> {
    if (message.kind === "observe") return ok(observeItem(message.kinds));
    if (message.kind === "floor_ack") {
      const value = create(FloorAckSchema, { floorEpoch: BigInt(message.epoch) });
      return ok({
        kind: "control",
        payload: { kind: "positioned", message: { case: "floorAck", value } },
        how: { class: "positioned", afterMedia: false },
      });
    }
    return ingressToLink(codec, message, (turn, generation) => this.#fences.get(`${turn}/${generation}`) ?? 0);
  }

  #noteDelivery({ turn, generation, playedUs, state }: Extract<TransportIngress, { kind: "delivery" }>): void {
    // The session's own output belongs to no turn that could go on.
    if (turn === 0 || turn < this.#openTurn.turn) return;
    const ended = state === "completed" || state === "cancelled" || state === "lost";
    this.#openTurn = ended ? { turn: 0, generation: 0, playedUs: 0 } : { turn, generation, playedUs };
  }

  #unsent(kind: string): void {
    const { unsent } = this.#init.counts;
    unsent.set(kind, (unsent.get(kind) ?? 0) + 1);
  }

  // --- the runtime speaks ---

  isStale({ port }: AdapterBinding): boolean {
    return port.constants.epoch < this.#epoch;
  }

  heard(message: TransportEgress): void {
    if (this.#phase === "over" || message.kind === "close") return;
    if (!this.#heard.isNew(message)) {
      this.#init.counts.duplicates += 1;
      return;
    }
    this.#init.request.transport.send(message);
  }

  /** An event that is no media, by its number; repeats of a new binding are known by it. */
  isNewEvent(number: number, overtaking: boolean): boolean {
    const fresh = this.#heard.isNewEvent(number, overtaking);
    if (!fresh) this.#init.counts.duplicates += 1;
    return fresh;
  }

  fenced(turn: number, generation: number, sequence: number): void {
    this.#fences.set(`${turn}/${generation}`, sequence);
    for (const [oldest] of this.#fences) {
      if (this.#fences.size <= limits.LINK_FENCES_KEPT_MAX) return;
      this.#fences.delete(oldest);
    }
  }

  noted(note: SessionNote): void {
    for (const [tell, kinds] of this.#observers) if (kinds.includes(note.kind)) tell(note);
  }

  reconnectWithin(ms: number): void {
    this.#reconnectMs = ms;
  }

  floor(grant: SignedGrant): void {
    void this.#raise(grant);
  }

  #observe(kinds: readonly SessionNote["kind"][], tell: (note: SessionNote) => void): () => void {
    this.#observers.set(tell, [...kinds]);
    this.#askObserve();
    return () => {
      if (!this.#observers.delete(tell)) return;
      this.#askObserve();
    };
  }

  #askObserve(): void {
    if (this.#phase !== "over") this.#say({ kind: "observe", kinds: this.#observed() }, this.#epoch);
  }

  #observed(): SessionNote["kind"][] {
    return [...new Set([...this.#observers.values()].flat())];
  }

  // --- a newer epoch ---

  async #raise(grant: SignedGrant): Promise<void> {
    const { grants, request, adapterId, instance } = this.#init;
    const { tenant, session } = request.claims;
    const refuse = (reason: string): void => this.#init.notice({ kind: "floor_refused", tenant, session, reason });
    const verified = await grants.verify(grant);
    if (this.#phase !== "open") return;
    if (!verified.ok) return refuse(verified.error);
    const said = verified.value;
    if (said.tenant !== tenant || said.session !== session) return refuse("other_session");
    if (said.holder !== instance) return refuse("other_holder");
    if (!said.receivers.includes(adapterId)) return refuse("not_named");
    if (said.epoch === this.#epoch) return;
    if (said.epoch < this.#epoch || !request.raiseEpoch(said.epoch)) return refuse("stale_epoch");
    this.#say({ kind: "floor_ack", epoch: said.epoch }, this.#epoch);
    this.#epoch = said.epoch;
    this.#grant = grant;
    await this.#rebind("rotation");
  }

  // --- bindings ---

  /** One attempt: binds, says `open`, waits for the answer. */
  async #bind(deadlineNs: number, reattach: boolean): Promise<Answer> {
    const { link, clock, request, readyMs } = this.#init;
    const upNs = Math.min(deadlineNs, clock.nowNs() + msToNs(readyMs));
    const waitMs = Math.max(1, nsToMs(upNs - clock.nowNs()));
    const wallMs = (): number => clock.wallMs();
    const bound = await link.bind(
      () => this.#constants(),
      waitMs,
      (port) => new AdapterBinding(this, port, wallMs),
    );
    if (!bound.ok) return bound;
    const binding = bound.value;
    if (this.#phase === "over") {
      binding.leave("timeout");
      return err(refused(ErrorReason.DEADLINE_EXCEEDED));
    }
    this.#next = binding;
    const { claims, token, formats, traceparent = "" } = request;
    const init = { token, grant: this.#grant, variables: claims.variables, outputFormat: formats.output, traceparent };
    binding.send(openItem(reattach ? { ...init, reattach: this.#standing() } : init));
    const answer = await binding.answer(clock, deadlineNs);
    if (!answer.ok) binding.leave("timeout");
    return answer;
  }

  opened(binding: AdapterBinding, reattached: Reattached | null): void {
    if (this.#phase === "over") return binding.leave("timeout");
    this.#next = null;
    this.#binding = binding;
    const first = this.#phase === "opening";
    this.#phase = "open";
    this.#rebinding = false;
    if (!first) this.#goOn(reattached);
    // A still newer epoch came while this one was being bound.
    if (this.isStale(binding) && !this.#isOver()) void this.#rebind("rotation");
  }

  #standing() {
    const { turn, generation, playedUs } = this.#openTurn;
    return {
      knownEpoch: this.#epoch,
      openTurn: turn,
      openGeneration: generation,
      openPlayedUs: playedUs,
      sentControl: this.#resend.lastNumber,
      sentAudio: this.#captured,
      resendAvailableMs: this.#resend.availableMs,
    };
  }

  #constants(): SessionConstants {
    const { tenant, session, pipelineVersion } = this.#init.request.claims;
    const format = { codec: "pcm_s16le", sampleRateHz: 16_000, channels: 1 };
    return { tenant, session, pipelineVersion, epoch: this.#epoch, ...format };
  }

  closed(binding: AdapterBinding, reason: string): void {
    if (binding !== this.#binding || this.#phase === "over" || this.#rebinding) return;
    this.#end(reason);
  }

  broken(binding: AdapterBinding, pairDead: boolean, reason: string): void {
    if (binding !== this.#binding || this.#phase === "over") return;
    if (!pairDead) return this.#lost(reason);
    if (this.#phase !== "open") return;
    this.#phase = "away";
    void this.#rebind(reason);
  }

  /** Goes on with the session on a new binding, until the time that the runtime holds it is over. */
  async #rebind(why: string): Promise<void> {
    if (this.#rebinding) return;
    this.#rebinding = true;
    const { clock } = this.#init;
    const deadlineNs = clock.nowNs() + msToNs(this.#searchMs(why));
    let last = why;
    while (clock.nowNs() < deadlineNs) {
      const epoch = this.#epoch;
      const answer = await this.#bind(deadlineNs, true);
      if (answer.ok || this.#isOver()) return;
      const { reason } = refusalOf(answer.error);
      last = reason;
      if (reason !== "dependency_unavailable" && epoch === this.#epoch) break;
      await this.#pause(limits.LINK_REATTACH_PAUSE_MS);
    }
    this.#lost(last);
  }

  /** As long as the runtime holds it. A rotation finds the session where it is: it asks for a moment only. */
  #searchMs(why: string): number {
    if (why === "rotation" || this.#reconnectMs === null) return limits.LINK_REATTACH_MS;
    return Math.min(this.#reconnectMs, limits.LINK_HELD_MS_MAX);
  }

  #isOver(): boolean {
    return this.#phase === "over";
  }

  #pause(ms: number): Promise<void> {
    const { clock } = this.#init;
    return new Promise((resolve) => {
      clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(ms)), resolve);
    });
  }

  /** The runtime told what it has: the rest is said again, in order. */
  #goOn(reattached: Reattached | null): void {
    const { counts, notice, request } = this.#init;
    this.#resend.detached();
    this.#fences.clear();
    const rest = this.#resend.after(reattached?.control ?? 0, reattached?.audio ?? 0);
    if (rest === null) return this.#lost("control_lost");
    for (const kept of rest) {
      if ("number" in kept) this.#sendSignal(kept);
      else this.#sendAudio(kept);
    }
    counts.reattached += 1;
    const { tenant, session } = request.claims;
    notice({ kind: "session_reattached", tenant, session, resent: rest.length });
  }

  // --- the end ---

  /** This adapter stops. */
  stop(reason: string): void {
    if (this.#phase === "over") return;
    const binding = this.#binding;
    this.#end(reason);
    binding?.leave(reason);
  }

  #lost(reason: string): void {
    if (this.#phase === "over") return;
    const { counts, notice, request } = this.#init;
    counts.lost += 1;
    const { tenant, session } = request.claims;
    notice({ kind: "session_lost", tenant, session, reason });
    const detail = `The link to the runtime was lost (${reason}) and the session could not go on: open a new one.`;
    this.noted({ kind: "error", code: "dependency_unavailable", detail });
    const binding = this.#binding;
    this.#end("transport_disconnect");
    binding?.leave("transport_disconnect");
  }

  #end(reason: string): void {
    const told = this.#phase !== "opening";
    this.#over();
    if (told) this.#init.request.transport.send({ kind: "close", epoch: this.#epoch, reason });
  }

  #over(): void {
    if (this.#phase === "over") return;
    this.#phase = "over";
    this.#next?.leave("timeout");
    this.#next = null;
    this.#init.link.release();
    this.#init.onOver(this);
  }
}

/** The pair is gone: what was to be sent waits for the next. */
function isAway(error: LinkSendError): boolean {
  return error.kind === "refused" && (error.reason === "not_up" || error.reason === "unknown_ref");
}
