/**
 * One session at the runtime, over all its bindings: a rotation of its lease and the death of a pair each make a new one.
 * It is the session's transport end; it says on the link what the session says, and keeps it until the adapter has it.
 */

import { create } from "@bufbuild/protobuf";
import { monoPlusNs, msToNs } from "@rspp/base/brand";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { SignedGrant } from "@rspp/gen/rspp/lease/v1/lease_pb";
import { FloorUpdateSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { TimerHandle } from "@rspp/ports/clock";
import type { SessionNote } from "@rspp/ports/session-opener";
import type { TransportEgress, TransportEnd, TransportIngress } from "@rspp/ports/transport";
import type { LaneMarks } from "@rspp/protocol/link-types";
import { ingressTake } from "@rspp/protocol/reattach-audio";
import { CUTS_NOTHING } from "@rspp/wire/cutoff";
import { egressToLink, mediaToLink } from "./link-egress.ts";
import { limits } from "./link-limits.ts";
import { noteToLink } from "./link-notes.ts";
import { handoverItem, type OpenAsk, openedItem, openProblem, readGrant } from "./link-open.ts";
import { isLarge, partsOf } from "./link-parts.ts";
import { type Kept, Replay } from "./link-replay.ts";
import type { BoundSession, RuntimeBinding } from "./link-runtime-binding.ts";
import type { RuntimeShared } from "./link-runtime-shared.ts";
import type { HandoverAsk, LinkOpened } from "./link-session-types.ts";
import { HANDED_OVER } from "./link-words.ts";

const nothing: Readonly<LaneMarks> = Object.freeze({ control: 0, data: 0, telemetry: 0 });

type Sent = ReturnType<RuntimeBinding["send"]> | null;

export interface RuntimeSessionInit {
  readonly shared: RuntimeShared;
  readonly binding: RuntimeBinding;
  readonly ask: OpenAsk;
  /** The session is over here; once. */
  onOver(session: RuntimeSession): void;
}

export class RuntimeSession implements TransportEnd, BoundSession {
  readonly token: string;
  readonly peerId: string;
  readonly #shared: RuntimeShared;
  readonly #onOver: (session: RuntimeSession) => void;
  readonly #replay: Replay;
  readonly #fences = new Map<number, { turn: number; generation: number }>();
  #binding: RuntimeBinding | null;
  #opened: LinkOpened | null = null;
  #phase: "opening" | "open" | "over" = "opening";
  #epoch: number;
  /** Newer epochs the adapter was told of and has not bound yet, rising. */
  #announced: { epoch: number; grant: SignedGrant }[] = [];
  /** What the adapter had acted on when it was told of a newer epoch. */
  #ackedAtFloor: LaneMarks | null = null;
  #grant: SignedGrant;
  #closing: string | null = null;
  #closeTimer: TimerHandle | null = null;
  #awayTimer: TimerHandle | null = null;
  #observed: readonly SessionNote["kind"][] = [];
  #unobserve: (() => void) | null = null;
  #noteNumber = 0;
  // What came of the adapter: control acted on up to `#acted` and beyond it singly, audio, and the last positioned signal.
  #acted = 0;
  readonly #actedAhead = new Set<number>();
  readonly #audioMark = { highWater: 0 };
  #lastSignal = 0;
  #endedSeen = false;

  constructor({ shared, binding, ask, onOver }: RuntimeSessionInit) {
    this.#shared = shared;
    this.#binding = binding;
    this.#onOver = onOver;
    this.token = ask.token;
    this.peerId = binding.peer.peerId;
    this.#epoch = binding.port.constants.epoch;
    this.#grant = ask.signed;
    this.#replay = new Replay(binding.port.constants.session, ask.token);
  }

  get epoch(): number {
    return this.#announced.at(-1)?.epoch ?? this.#epoch;
  }

  get phase(): "opening" | "open" | "waiting" | "over" {
    return this.#phase === "open" && this.#binding === null ? "waiting" : this.#phase;
  }

  // --- opening ---

  /** The handler said yes. When the adapter has gone meanwhile, the session ends at once. */
  begin(opened: LinkOpened): void {
    this.#opened = opened;
    const binding = this.#binding;
    this.#grant = opened.grant ?? this.#grant;
    // An adapter that did not wait for a takeover goes on with the session elsewhere.
    const gone = opened.takeover === undefined ? "connection_lost" : HANDED_OVER;
    if (this.#phase === "over" || binding === null || binding.over) return this.#gone(gone);
    this.#phase = "open";
    binding.admit(this, 0);
    if (opened.takeover !== undefined) this.#audioMark.highWater = opened.takeover.audioThrough;
    binding.send(openedItem(this.#grant, null, opened.reconnectMs, opened.takeover));
    for (const kept of this.#replay.waiting()) this.#transmit(kept);
    this.#tellFloor();
    if (this.#closing !== null) this.#drain(this.#closing);
  }

  /** The handler said no, or the adapter went before it had answered. */
  abandon(): void {
    this.#phase = "over";
    this.#binding = null;
    this.#onOver(this);
  }

  // --- going on, on another binding ---

  /** Why this opening may not go on with the session; null when it does. */
  reattach(binding: RuntimeBinding, ask: OpenAsk): ReturnType<typeof openProblem> | null {
    const { domain, clock } = this.#shared;
    const { epoch } = binding.port.constants;
    if (ask.token !== this.token || binding.peer.peerId !== this.peerId) {
      const remedy = "Reattach with the token and from the adapter that opened the session.";
      return openProblem(ErrorReason.PERMISSION_DENIED, domain, "open.token", "is not the session's", remedy);
    }
    const announced = this.#announced.find((it) => it.epoch === epoch);
    if (epoch !== this.#epoch && announced === undefined) {
      const said = `is ${epoch}, the session's is ${this.epoch}`;
      const remedy = "Bind the newest epoch that the runtime announced.";
      return openProblem(ErrorReason.AUTHORITY_EPOCH_MISMATCH, domain, "authority_epoch", said, remedy);
    }
    const old = this.#binding;
    if (old !== null) this.#replay.detached(this.#ackedOf(old), clock.nowNs());
    const resumed = this.#replay.attach(this.token, ask.reattach?.openTurnNumber ?? 0, clock.nowNs());
    if (resumed === null) {
      const said = "more was said meanwhile than is kept";
      this.#gone("connection_lost");
      return openProblem(ErrorReason.SESSION_ENDED, domain, "open.reattach", said, "Open a new session.");
    }
    this.#awayTimer?.clear();
    this.#awayTimer = null;
    this.#binding = binding;
    this.#ackedAtFloor = null;
    this.#fences.clear();
    if (announced !== undefined) this.#rotated(announced.grant, epoch);
    binding.admit(this, this.#acted);
    this.#actedAhead.clear();
    const reattached = {
      control: this.#acted,
      audio: this.#audioMark.highWater,
      turnContinues: resumed.turnContinues && this.#replay.openTurn !== 0,
    };
    binding.send(openedItem(this.#grant, reattached, this.#opened?.reconnectMs));
    old?.retire("superseded");
    for (const kept of resumed.entries) this.#transmit(kept);
    this.#tellFloor();
    if (this.#closing !== null) this.#drain(this.#closing);
    return null;
  }

  #rotated(grant: SignedGrant, epoch: number): void {
    this.#epoch = epoch;
    this.#grant = grant;
    this.#announced = this.#announced.filter((it) => it.epoch > epoch);
  }

  announceFloor(signed: SignedGrant): void {
    const epoch = Number(readGrant(signed)?.epoch ?? 0n);
    if (this.#phase === "over" || epoch <= this.epoch) return;
    this.#announced = [...this.#announced.slice(1 - limits.LINK_FLOORS_KEPT_MAX), { epoch, grant: signed }];
    if (this.#phase === "open") this.#tellFloor();
  }

  #tellFloor(): void {
    const announced = this.#announced.at(-1);
    if (announced === undefined || this.#binding === null) return;
    this.#ackedAtFloor ??= { ...this.#binding.port.peerAcked };
    this.#binding?.send({
      kind: "control",
      payload: {
        kind: "overtaking",
        message: { case: "floor", value: create(FloorUpdateSchema, { grant: announced.grant }) },
      },
      how: { class: "overtaking", cutoff: CUTS_NOTHING },
    });
  }

  /** Asks the adapter to go on elsewhere. Said once: an adapter that loses its pair meanwhile comes back or goes on by itself. */
  handOver(ask: HandoverAsk): void {
    if (this.#phase === "open") this.#binding?.send(handoverItem(ask));
  }

  /** An adapter that raised its floor refuses what is under way, whatever the link acknowledges: that is said again. */
  #ackedOf(binding: RuntimeBinding | null): Readonly<LaneMarks> {
    if (binding === null) return nothing;
    return this.#ackedAtFloor ?? binding.port.peerAcked;
  }

  // --- the session speaks ---

  send(message: TransportEgress): void {
    if (this.#phase === "over") return;
    if (message.kind === "close") {
      this.#closing ??= message.reason;
      if (this.#phase === "open") this.#drain(this.#closing);
      return;
    }
    if (message.epoch < this.#epoch) return this.#shared.unsent("stale_epoch");
    // Bytes are the session's own again as soon as this has returned.
    const own = message.kind === "media" ? { ...message, bytes: new Uint8Array(message.bytes) } : message;
    const binding = this.#binding;
    const kept = this.#replay.record(own, this.#shared.clock.nowNs(), this.#ackedOf(binding));
    if (this.#phase !== "open" || binding === null || message.epoch !== this.#epoch) return;
    this.#transmit(kept);
  }

  #transmit(kept: Kept): void {
    const binding = this.#binding;
    if (binding === null) return;
    const { message, number } = kept;
    if (message.kind === "media" && isLarge(message)) return this.#transmitParts(binding, kept, message);
    const item =
      message.kind === "error"
        ? noteToLink(binding.codec, message, number)
        : egressToLink(binding.codec, message, number);
    const sent = item.ok ? binding.send(item.value) : null;
    this.#settle(kept, sent);
    if (sent?.ok && message.kind === "fence") this.#keepFence(sent.value, message);
  }

  #transmitParts(binding: RuntimeBinding, kept: Kept, message: Extract<TransportEgress, { kind: "media" }>): void {
    let sent: Sent = null;
    for (const { media, eventId } of partsOf(message) ?? []) {
      const item = mediaToLink(binding.codec, media, eventId);
      sent = item.ok ? binding.send(item.value) : null;
      if (!sent?.ok) break;
    }
    this.#settle(kept, sent);
  }

  /** Notes where the link put a message, or that it is not to be sent; without a pair it waits for the next. */
  #settle(kept: Kept, sent: Sent): void {
    if (sent?.ok) {
      kept.linkSeq = sent.value;
      return;
    }
    const refused = sent?.error.kind === "refused" ? sent.error.reason : null;
    if (refused === "not_up" || refused === "unknown_ref") return;
    kept.linkSeq = -1;
    if (refused !== "fenced") this.#shared.unsent(kept.message.kind);
  }

  #keepFence(sequence: number, { turn, generation }: { turn: number; generation: number }): void {
    this.#fences.set(sequence, { turn, generation });
    for (const [oldest] of this.#fences) {
      if (this.#fences.size <= limits.LINK_FENCES_KEPT_MAX) return;
      this.#fences.delete(oldest);
    }
  }

  /** What waits for credit is said before the end, else the last words would be cut. */
  #drain(reason: string): void {
    if (this.#closeTimer !== null) return;
    const { clock } = this.#shared;
    const untilNs = clock.nowNs() + msToNs(limits.LINK_CLOSE_DRAIN_MS);
    const look = (): void => {
      this.#closeTimer = null;
      const binding = this.#binding;
      if (this.#phase === "over" || binding === null) return;
      if (binding.port.queuedItems === 0 || clock.nowNs() >= untilNs) {
        this.#over(reason);
        binding.close(reason);
        return;
      }
      this.#closeTimer = clock.timerAt(monoPlusNs(clock.nowNs(), msToNs(limits.LINK_CLOSE_LOOK_MS)), look);
    };
    look();
  }

  // --- the adapter speaks ---

  isNew(number: number): boolean {
    if (number <= this.#acted || this.#actedAhead.has(number)) return false;
    this.#actedAhead.add(number);
    while (this.#actedAhead.delete(this.#acted + 1)) this.#acted += 1;
    return true;
  }

  audio(message: Extract<TransportIngress, { kind: "audio" }>): void {
    if (!ingressTake(this.#audioMark, message.sequence).take) return this.#shared.duplicate();
    this.#opened?.session.receive(message);
  }

  control(message: Exclude<TransportIngress, { kind: "audio" }>): void {
    if (message.kind === "control") {
      if (message.controlClass === "positioned") this.#lastSignal = Math.max(this.#lastSignal, message.sequence);
      if (message.signal === "ended") this.#endedSeen = true;
    }
    this.#opened?.session.receive(message);
  }

  observe(kinds: readonly SessionNote["kind"][]): void {
    this.#observed = kinds;
    this.#unobserve?.();
    const observe = this.#opened?.observe;
    this.#unobserve = kinds.length === 0 || observe === undefined ? null : observe(kinds, (note) => this.#note(note));
  }

  #note(note: SessionNote): void {
    if (this.#phase !== "open" || !this.#observed.includes(note.kind)) return;
    if (note.kind === "error") {
      this.#transmit(this.#replay.record(note, this.#shared.clock.nowNs(), this.#ackedOf(this.#binding)));
      return;
    }
    const binding = this.#binding;
    if (binding === null) return;
    const item = noteToLink(binding.codec, note, ++this.#noteNumber);
    if (!item.ok || !binding.send(item.value).ok) this.#shared.unsent(note.kind);
  }

  floorKnown(epoch: number): void {
    this.#opened?.onFloor?.(epoch);
  }

  fenceAt(sequence: number): { turn: number; generation: number } | undefined {
    return this.#fences.get(sequence);
  }

  // --- the end ---

  ended(binding: RuntimeBinding, how: "closed" | "broken_off" | "pair_dead", reason: string): void {
    if (binding !== this.#binding || this.#phase === "over") return;
    const acked: LaneMarks = { ...this.#ackedOf(binding) };
    this.#binding = null;
    if (this.#phase === "opening") return;
    const reconnectMs = this.#opened?.reconnectMs ?? 0;
    if (how !== "pair_dead" || reconnectMs <= 0) return this.#gone(how === "pair_dead" ? "connection_lost" : reason);
    const { clock } = this.#shared;
    this.#replay.detached(acked, clock.nowNs());
    this.#closeTimer?.clear();
    this.#closeTimer = null;
    const at = monoPlusNs(clock.nowNs(), msToNs(Math.min(reconnectMs, limits.LINK_HELD_MS_MAX)));
    this.#awayTimer = clock.timerAt(at, () => this.#gone("connection_lost"));
  }

  /** This runtime ends it. */
  stop(reason: string): void {
    const binding = this.#binding;
    this.#gone(reason);
    binding?.close(reason);
  }

  /** The adapter is gone for good: a session that was not ended is told so. */
  #gone(reason: string): void {
    if (this.#phase === "over" && this.#opened === null) return;
    const opened = this.#opened;
    if (opened?.onHandedOver !== undefined && reason === HANDED_OVER) {
      this.#endedSeen = true;
      opened.onHandedOver();
    }
    if (opened !== null && !this.#endedSeen && this.#closing === null) {
      this.#endedSeen = true;
      if (this.#phase === "opening" || this.#acted === 0) opened.session.receive(this.#signal("connected"));
      opened.session.receive(this.#signal("ended", reason));
    }
    this.#over(reason);
  }

  #signal(signal: "connected" | "ended", reason = ""): TransportIngress {
    const head = { kind: "control", epoch: this.#epoch, signal } as const;
    if (signal === "connected") return { ...head, controlClass: "overtaking", sequence: 1 };
    const lastMediaSequence = this.#audioMark.highWater;
    return { ...head, controlClass: "positioned", sequence: this.#lastSignal + 1, lastMediaSequence, reason };
  }

  #over(reason: string): void {
    const first = this.#phase !== "over";
    this.#phase = "over";
    this.#closeTimer?.clear();
    this.#awayTimer?.clear();
    this.#unobserve?.();
    this.#unobserve = null;
    this.#binding = null;
    if (!first) return;
    this.#onOver(this);
    this.#opened?.onGone?.(reason);
  }
}
