/**
 * One session at the adapter, over all its bindings: what the caller's transport says goes to the runtime, what the runtime
 * says to the transport. A pair that dies is made good on the next one while the runtime holds the session (kernel.md §7).
 */

import { monoPlusNs, msToNs, nsToMs } from "@rspp/base/brand";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import type { Clock } from "@rspp/ports/clock";
import type { OpenedSession, OpenRefusal, SessionNote } from "@rspp/ports/session-opener";
import type { SessionEnd, TransportEgress, TransportIngress } from "@rspp/ports/transport";
import type { SessionConstants } from "@rspp/rpc/link-api";
import { AdapterBinding, type Answer, type BindingOwner, refused } from "./link-adapter-binding.ts";
import type { AdapterSessionInit } from "./link-adapter-types.ts";
import { Heard } from "./link-heard.ts";
import { limits } from "./link-limits.ts";
import { Observers } from "./link-observe.ts";
import { openItem, type Reattached } from "./link-open.ts";
import { Outgoing, type OutgoingOwner } from "./link-outgoing.ts";
import type { PooledLink } from "./link-pool.ts";
import type { Signal } from "./link-resend.ts";
import type { HandoverAsk, TakenOver } from "./link-session-types.ts";
import { Patience, type TakeoverFrom, takeoverOf } from "./link-takeover.ts";
import { TurnsSeen } from "./link-turns-seen.ts";
import { HANDED_OVER, refusalOf } from "./link-words.ts";
import type { Moved } from "./session-mover.ts";

export class AdapterSession implements SessionEnd, BindingOwner, OutgoingOwner {
  readonly #init: AdapterSessionInit;
  readonly clock: Clock;
  readonly #out: Outgoing;
  readonly #heard = new Heard();
  readonly #turns = new TurnsSeen();
  /** Frames captured when a turn was heard of, by turn; until it commits. */
  readonly #heardUntil = new Map<number, number>();
  readonly #observers = new Observers(() => this.#askObserve());
  #instance: string;
  #link: PooledLink;
  /** What the runtime said of one that was another adapter's. */
  #adopted: NonNullable<OpenedSession["adopted"]> | null = null;
  /** Being moved to another runtime. */
  #moving: TakeoverFrom | null = null;
  #moves = 0;
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
    this.#instance = init.instance;
    this.#link = init.link;
    this.clock = init.clock;
    this.#out = new Outgoing(this, init.mover !== null);
    if (init.adopts === undefined) return;
    this.#moving = init.adopts.from;
    this.#turns.begin(init.adopts.seen);
  }

  /** Binds and opens; settles when the runtime has answered, or with a refusal at the deadline. */
  async open(deadlineNs: number): Promise<Result<OpenedSession, OpenRefusal>> {
    const answer = await this.#bind(deadlineNs, this.#moving === null ? "open" : "takeover");
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
      ...(this.#adopted === null ? {} : { adopted: this.#adopted }),
      leave: () => this.#over(),
      observe: (kinds, tell) => this.#observers.add(kinds, tell),
    });
  }

  // --- the caller's transport speaks ---

  receive(message: TransportIngress): void {
    if (this.#phase === "over" || this.#phase === "opening") return;
    this.#turns.said(message);
    if (message.kind === "audio") {
      if (!Number.isSafeInteger(message.mediaUs)) return this.unsent("audio");
      this.#captured = message.sequence;
      return this.#out.audio(message);
    }
    if (message.kind === "delivery") this.#noteDelivery(message);
    this.#say(message, message.epoch);
  }

  #say(message: Signal, epoch: number): void {
    // Reports carry the epoch of the output they are about.
    const said = this.#out.signal(message, message.kind === "control" ? epoch : this.#epoch);
    if (!said) this.#lost("control_overflow");
  }

  /** The present binding, where it takes a message of this epoch; what is newer waits for the next one. */
  taker(epoch: number): AdapterBinding | null {
    const binding = this.#binding;
    const takes = this.#phase === "open" && !this.#rebinding && binding !== null;
    return takes && epoch <= binding.port.constants.epoch ? binding : null;
  }

  #noteDelivery({ turn, generation, playedUs, state }: Extract<TransportIngress, { kind: "delivery" }>): void {
    // The session's own output belongs to no turn that could go on.
    if (turn === 0 || turn < this.#openTurn.turn) return;
    const ended = state === "completed" || state === "cancelled" || state === "lost";
    this.#openTurn = ended ? { turn: 0, generation: 0, playedUs: 0 } : { turn, generation, playedUs };
  }

  unsent(kind: string): void {
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
    this.#noteTurn(message);
    this.#init.request.transport.send(message);
  }

  /** With the commit of a turn its words are settled, and the audio they were in (kernel.md §7). */
  #noteTurn(message: TransportEgress): void {
    if (this.#turns.heard(message))
      this.#heardUntil.set(this.#turns.last, this.#captured - limits.TAKEOVER_MARGIN_FRAMES);
    if (message.kind !== "control" || (message.signal !== "commit" && message.signal !== "close")) return;
    const until = this.#heardUntil.get(message.turn);
    if (until === undefined) return;
    for (const [turn] of this.#heardUntil) if (turn <= message.turn) this.#heardUntil.delete(turn);
    this.#out.resend.settle(until);
  }

  /** An event that is no media, by its number; repeats of a new binding are known by it. */
  isNewEvent(number: number, overtaking: boolean): boolean {
    const fresh = this.#heard.isNewEvent(number, overtaking);
    if (!fresh) this.#init.counts.duplicates += 1;
    return fresh;
  }

  fenced(turn: number, generation: number, sequence: number): void {
    this.#out.fenced(turn, generation, sequence);
  }

  noted(note: SessionNote): void {
    this.#observers.tell(note);
  }

  reconnectWithin(ms: number): void {
    this.#reconnectMs = ms;
  }

  floor(grant: SignedGrant): void {
    void this.#raise(grant);
  }

  #askObserve(): void {
    if (this.#phase !== "over") this.#say({ kind: "observe", kinds: this.observed() }, this.#epoch);
  }

  observed(): SessionNote["kind"][] {
    return this.#observers.kinds();
  }

  // --- a newer epoch ---

  async #raise(grant: SignedGrant): Promise<void> {
    const { grants, request, adapterId } = this.#init;
    const { tenant, session } = request.claims;
    const refuse = (reason: string): void => this.#init.notice({ kind: "floor_refused", tenant, session, reason });
    const verified = await grants.verify(grant);
    if (this.#phase !== "open") return;
    if (!verified.ok) return refuse(verified.error);
    const said = verified.value;
    if (said.tenant !== tenant || said.session !== session) return refuse("other_session");
    if (said.holder !== this.#instance) return refuse("other_holder");
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
  async #bind(deadlineNs: number, how: "open" | "reattach" | "takeover", linkNs = deadlineNs): Promise<Answer> {
    const { clock, request, readyMs } = this.#init;
    const upNs = Math.min(linkNs, clock.nowNs() + msToNs(readyMs));
    const waitMs = Math.max(1, nsToMs(upNs - clock.nowNs()));
    const wallMs = (): number => clock.wallMs();
    const bound = await this.#link.bind(
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
    binding.send(openItem({ ...init, ...this.#standingFor(how) }));
    const answer = await binding.answer(clock, deadlineNs);
    if (!answer.ok) binding.leave("timeout");
    return answer;
  }

  opened(binding: AdapterBinding, reattached: Reattached | null, taken: TakenOver | null): void {
    if (this.#phase === "over") return binding.leave("timeout");
    this.#next = null;
    this.#binding = binding;
    const first = this.#phase === "opening";
    this.#phase = "open";
    this.#rebinding = false;
    if (first) this.#adopt(taken);
    else if (this.#moving !== null) this.#arrived(taken);
    else this.#goOn(binding, reattached);
    // A still newer epoch came while this one was being bound.
    if (this.isStale(binding) && !this.#isOver()) void this.#rebind("rotation");
  }

  #standingFor(how: "open" | "reattach" | "takeover") {
    if (how === "reattach") return { reattach: this.#standing() };
    if (how === "open" || this.#moving === null) return {};
    return { takeover: takeoverOf(this.#moving, this.#turns, this.#out.resend.frames) };
  }

  #standing() {
    const { turn, generation, playedUs } = this.#openTurn;
    return {
      knownEpoch: this.#epoch,
      openTurn: turn,
      openGeneration: generation,
      openPlayedUs: playedUs,
      sentControl: this.#out.resend.lastNumber,
      sentAudio: this.#captured,
      resendAvailableMs: this.#out.resend.availableMs,
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
    const patience = new Patience(this.#link, why, this.#init);
    while (clock.nowNs() < deadlineNs) {
      const epoch = this.#epoch;
      const answer = await this.#bind(deadlineNs, "reattach", patience.until(deadlineNs));
      if (answer.ok || this.#isOver()) return;
      const { reason } = refusalOf(answer.error);
      last = reason;
      const refused = reason !== "dependency_unavailable" && epoch === this.#epoch;
      if (patience.isOver(refused)) {
        const untilNs = clock.nowNs() + msToNs(limits.FAILOVER_SEARCH_MS);
        if (await this.#takeOver({ why: "lost", target: "", stateVersion: 0 }, untilNs)) return;
        // Its runtime is there and has forgotten it: only another one could have helped.
        if (refused) break;
      } else if (refused) break;
      else await this.#pause(patience.pauseMs);
    }
    this.#lost(last);
  }

  // --- another runtime ---

  handover({ reason: why, target, stateVersion }: HandoverAsk): void {
    if (this.#phase !== "open" || this.#rebinding || this.#init.mover === null) return;
    this.#rebinding = true;
    const deadlineNs = this.clock.nowNs() + msToNs(limits.LINK_REATTACH_MS);
    void this.#takeOver({ why, target, stateVersion }, deadlineNs).then((moved) => {
      if (moved || this.#isOver()) return;
      this.#rebinding = false;
      if (this.#phase === "away") void this.#rebind("handover");
      else this.#out.flush();
    });
  }

  /** True when the session goes on elsewhere, or is over. A planned move that finds no place leaves it where it is. */
  async #takeOver(move: Pick<TakeoverFrom, "why" | "target" | "stateVersion">, deadlineNs: number): Promise<boolean> {
    const { mover, request, notice, counts } = this.#init;
    if (mover === null) return false;
    const { tenant, session } = request.claims;
    const from: TakeoverFrom = { ...move, instance: this.#instance, epoch: this.#epoch };
    if (move.why === "lost") this.#tell("reconnecting", "failover");
    const avoid: string[] = [];
    let tries = 0;
    this.#moves += 1;
    while (this.clock.nowNs() < deadlineNs && !this.#isOver()) {
      const { open, last: lastTurn } = this.#turns;
      const key = `${this.#init.adapterId}-${session}-${this.#moves}-${tries}`.slice(-128);
      const about = { ...from, epoch: this.#epoch, openTurn: open?.turn ?? 0, lastTurn, avoid, key };
      const moved = await mover.move({ claims: request.claims, from: this.#instance, ...about });
      if (this.#isOver()) return true;
      if (!moved.ok) {
        notice({ kind: "move_failed", tenant, session, ...moved.error, by: "placement" });
        if (move.why !== "lost" && this.#epoch === from.epoch) return false;
        // Its own runtime may be back meanwhile, as long as nobody else was granted the session.
        if (this.#epoch === from.epoch && this.#link.up) return false;
        // Those that were too slow are better than none.
        if (avoid.splice(0).length > 0) tries += 1;
        await this.#pause(limits.FAILOVER_RETRY_MS);
        continue;
      }
      if (
        await this.#goTo(moved.value, from, Math.min(deadlineNs, this.clock.nowNs() + msToNs(limits.FAILOVER_TRY_MS)))
      ) {
        if (move.why === "lost") counts.failedOver += 1;
        else counts.migrated += 1;
        return true;
      }
      if (this.#isOver()) return true;
      if (avoid.length < limits.FAILOVER_AVOIDED_MAX) avoid.push(moved.value.instance);
      tries += 1;
      await this.#pause(limits.FAILOVER_RETRY_MS);
    }
    this.#lost("no_runtime");
    return true;
  }

  /** The floor first: from here on nothing of the old epoch is believed. */
  async #goTo({ instance, grant, epoch, link }: Moved, from: TakeoverFrom, deadlineNs: number): Promise<boolean> {
    this.#link.release();
    this.#link = link;
    if (epoch <= this.#epoch || !this.#init.request.raiseEpoch(epoch)) return false;
    this.#epoch = epoch;
    this.#grant = grant;
    this.#instance = instance;
    this.#moving = from;
    const old = this.#binding;
    this.#binding = null;
    old?.leave(from.why === "lost" ? "superseded" : HANDED_OVER);
    const answer = await this.#bind(deadlineNs, "takeover");
    this.#moving = null;
    const { tenant, session } = this.#init.request.claims;
    if (!answer.ok)
      this.#init.notice({ kind: "move_failed", tenant, session, ...refusalOf(answer.error), by: "runtime" });
    return answer.ok;
  }

  /** The client is told by its own adapter, which numbers what it says after what the session knows. */
  #adopt(taken: TakenOver | null): void {
    if (this.#moving === null) return;
    this.#moving = null;
    const { audioThrough = 0, controlThrough = 0 } = taken ?? {};
    this.#adopted = { audioThrough, controlThrough };
    this.#init.counts.adopted += 1;
    this.#tellMoved(taken, 0);
  }

  #tellMoved(taken: TakenOver | null, resent: number): void {
    const { request, notice } = this.#init;
    const { tenant, session } = request.claims;
    const state = taken?.state ?? "missing";
    notice({ kind: "session_moved", tenant, session, instance: this.#instance, state, resent });
  }

  #arrived(taken: TakenOver | null): void {
    this.#heard.successor();
    this.#openTurn = { turn: 0, generation: 0, playedUs: 0 };
    const sequence = Math.max(1, this.#turns.controlSeen);
    const connected = { kind: "control", epoch: this.#epoch, sequence, signal: "connected" } as const;
    const first: Signal[] = [{ ...connected, controlClass: "overtaking" }];
    if (this.#observers.kinds().length > 0) first.push({ kind: "observe", kinds: this.observed() });
    const resent = this.#out.tellAgain(taken?.audioThrough ?? 0, first);
    if (this.#moving?.why === "lost") this.#tell("connected", "failover");
    this.#tellMoved(taken, resent);
  }

  /** To the caller, whose own connection stands. */
  #tell(signal: "reconnecting" | "connected", reason: string): void {
    this.#init.request.transport.send({ kind: "control", epoch: this.#epoch, signal, turn: 0, reason });
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
  #goOn(binding: AdapterBinding, reattached: Reattached | null): void {
    const { counts, notice, request } = this.#init;
    const resent = this.#out.goOn(binding, reattached?.control ?? 0, reattached?.audio ?? 0);
    if (resent === null) return this.#lost("control_lost");
    counts.reattached += 1;
    const { tenant, session } = request.claims;
    notice({ kind: "session_reattached", tenant, session, resent });
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
    this.#out.stop();
    this.#link.release();
    this.#init.onOver();
  }
}
