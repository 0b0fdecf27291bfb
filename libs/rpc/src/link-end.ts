/**
 * Drives one end of a link: the machine of `libs/protocol` over two connections (architecture.md, decisions 5 to 7). What is
 * read goes through the machine to its taker in the same turn of the event loop; nothing here pauses a reader.
 */
import type { MonoNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import { err, ok, type Result } from "@rspp/base/result";
import { ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import type { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import type { LinkControlFrame, LinkEvent } from "@rspp/gen/rspp/runtime/v1/link_pb";
import { linkBind, linkConnected, linkDisconnected, linkReceive, linkSend, linkStep } from "@rspp/protocol/link";
import { createLink, linkSession } from "@rspp/protocol/link-state";
import { linkNextDeadline, linkTick } from "@rspp/protocol/link-tick";
import {
  type BindRefusal,
  type Connection,
  defaultLinkConfig,
  type LinkConfig,
  type LinkFrame,
  type LinkOutput,
  type LinkRole,
  type LinkSession,
  type LinkState,
  type Outgoing,
  type SessionConstants,
} from "@rspp/protocol/link-types";
import { bindToWire } from "@rspp/wire/binding";
import { type BindingTable, bindingTableCreate, tableBind, tableUnbind } from "@rspp/wire/binding-table";
import type { LinkPayload } from "@rspp/wire/link-control";
import { type Arrived, controlFrameFromWire, frameToWire, mediaFromWire } from "@rspp/wire/link-frame";
import { type WireError, wireError } from "@rspp/wire/wire-error";
import { rpcError } from "./errors.ts";
import { limits } from "./limits.ts";
import type {
  LinkControlClass,
  LinkDown,
  LinkHandlers,
  LinkSendError,
  LinkSessionHandlers,
  LinkSessionPort,
  LinkStats,
} from "./link-api.ts";
import { type LinkClock, systemClock } from "./link-clock.ts";
import { ControlWriter } from "./link-control-out.ts";
import {
  breakFrame,
  type Delivered,
  faultFrame,
  goAwayFrame,
  incomingOf,
  pingFrame,
  placeOf,
  pongFrame,
  type Raw,
} from "./link-frames.ts";
import { HeldMessages } from "./link-held.ts";
import { MediaWriter } from "./link-media.ts";
import { LinkSessionEnd } from "./link-session.ts";
import { LinkSilence, LinkTurns } from "./link-turns.ts";
import type { ControlWire, MediaWire } from "./link-wires.ts";

type Output = LinkOutput<LinkPayload>;

export interface LinkEndOptions {
  /** Service name in errors, e.g. `runtime`. */
  readonly domain: string;
  /** Both ends need the same `initial…` credit. */
  readonly config?: Partial<Omit<LinkConfig, "role">>;
  readonly clock?: LinkClock;
}

export class LinkEnd {
  readonly #role: LinkRole;
  readonly #peer: LinkRole;
  readonly #domain: string;
  readonly #clock: LinkClock;
  readonly #handlers: LinkHandlers;
  readonly #state: LinkState<LinkPayload>;
  readonly #sessions = new Map<number, { port: LinkSessionEnd; handlers: LinkSessionHandlers }>();
  readonly #writer: MediaWriter;
  #table: BindingTable = bindingTableCreate();
  #control: { incarnation: number; wire: ControlWire } | null = null;
  #media: { incarnation: number; wire: MediaWire } | null = null;
  readonly #held = new HeldMessages((notice) => this.#handlers.onNotice?.(notice));
  /** Outputs not yet acted on: what a handler causes comes after what caused it. */
  readonly #outputs: Output[] = [];
  #acting = false;
  #readAtNs: MonoNs;
  readonly #turns: LinkTurns;
  readonly #silence: LinkSilence;
  #faultsLeft = 0;
  readonly #controlOut: ControlWriter;
  #downAs: LinkDown | null = null;

  constructor(role: LinkRole, options: LinkEndOptions, handlers: LinkHandlers) {
    this.#role = role;
    this.#peer = role === "adapter" ? "runtime" : "adapter";
    this.#domain = options.domain;
    this.#clock = options.clock ?? systemClock();
    this.#handlers = handlers;
    this.#state = createLink({ ...defaultLinkConfig(role), ...options.config });
    this.#readAtNs = this.#clock.nowNs();
    this.#turns = new LinkTurns(
      this.#clock,
      () => this.#turn(),
      () => this.#held.nextDeadline(linkNextDeadline(this.#state)),
    );
    this.#silence = new LinkSilence(
      this.#clock,
      (nonce) => this.#controlOut.send([pingFrame(nonce)]),
      () => this.close("silent"),
    );
    this.#controlOut = new ControlWriter(
      () => this.#control?.wire,
      () => this.close("control_overflow"),
    );
    this.#writer = new MediaWriter({
      state: this.#state,
      encode: (frame) => frameToWire(this.#table, this.#role, frame, 0),
      notice: (notice) => this.#handlers.onNotice?.(notice),
      wake: () => this.#turns.plan(),
    });
  }

  get stats(): LinkStats {
    return {
      phase: this.#state.phase,
      incarnation: this.#state.incarnation,
      sessions: this.#state.sessionCount,
      outboxItems: this.#writer.waitingItems,
      outboxBytes: this.#writer.waitingBytes,
      inFlightBytes: this.#writer.inFlightBytes,
      mediaMessages: this.#writer.messages,
      mediaEvents: this.#writer.events,
    };
  }

  // --- for whoever owns the connections ---

  attachControl(incarnation: number, wire: ControlWire): void {
    this.#attach("control", incarnation, wire, () => {
      this.#control = { incarnation, wire };
    });
  }

  attachMedia(incarnation: number, wire: MediaWire): void {
    this.#attach("media", incarnation, wire, () => {
      this.#media = { incarnation, wire };
      this.#writer.use(wire);
    });
  }

  /** A connection ended. */
  lost(connection: Connection, incarnation: number): void {
    const wire = connection === "control" ? this.#control : this.#media;
    if (wire?.incarnation === incarnation) {
      if (connection === "control") this.#control = null;
      else this.#media = null;
    }
    const out: Output[] = [];
    linkDisconnected(this.#state, connection, incarnation, out);
    this.#act(out);
  }

  receiveControl(incarnation: number, frames: readonly LinkControlFrame[]): void {
    this.#readAtNs = this.#clock.nowNs();
    this.#silence.heard(this.#readAtNs);
    for (const frame of frames) {
      if (incarnation !== this.#state.incarnation || this.#state.phase === "down") return;
      this.#takeControl(frame);
    }
    this.#turns.plan();
  }

  receiveMedia(incarnation: number, events: readonly LinkEvent[]): void {
    this.#readAtNs = this.#clock.nowNs();
    for (const event of events) {
      if (incarnation !== this.#state.incarnation || this.#state.phase === "down") return;
      this.#takeMedia(event);
    }
    this.#turns.plan();
  }

  // --- for the application ---

  /** Binds a session; its events go to `handlers`. Events may be sent at once. Refuses constants the contract does not allow. */
  bind(
    constants: SessionConstants,
    handlers: LinkSessionHandlers,
    supersedes: number | null = null,
  ): Result<LinkSessionPort, BindRefusal | WireError> {
    const baseWallMs = this.#clock.wallMs();
    const legal = bindToWire(1, constants, baseWallMs, supersedes);
    if (!legal.ok) return legal;
    const out: Output[] = [];
    const bound = linkBind(this.#state, constants, supersedes, this.#clock.nowNs(), out);
    if (!bound.ok) return bound;
    legal.value.sessionRef = bound.value;
    const known = tableBind(this.#table, legal.value);
    invariant(known.ok, "a reference of the machine is free", bound.value);
    const port = new LinkSessionEnd(this, bound.value, constants, "self");
    this.#sessions.set(bound.value, { port, handlers });
    this.#act(out);
    this.#turns.plan();
    return ok(port);
  }

  /** Tells the peer to take its sessions elsewhere within `deadlineMs`; ends nothing by itself. */
  goAway(reason: Reason, deadlineMs: number): void {
    this.#controlOut.send([goAwayFrame(reason, deadlineMs)]);
  }

  /** Ends the pair; its sessions break. */
  close(reason: LinkDown = "closed"): void {
    if (this.#state.phase === "down") return;
    this.#downAs = reason;
    const out: Output[] = [];
    const connection = this.#state.connected.control ? "control" : "media";
    linkDisconnected(this.#state, connection, this.#state.incarnation, out);
    this.#act(out);
  }

  // --- for sessions ---

  sendOf(ref: number, item: Outgoing<LinkPayload>): Result<number, LinkSendError> {
    const out: Output[] = [];
    const now = this.#clock.nowNs();
    const sent = linkSend(this.#state, ref, item, now, out);
    if (item.lane === "control" && item.class === "overtaking") this.#writer.fence(ref, now);
    this.#act(out);
    this.#turns.plan();
    return sent.ok ? sent : err({ kind: "refused", reason: sent.error });
  }

  /** Null when it would be accepted: control must not be lost, so it is tried before it takes a sequence. */
  checkControl(ref: number, payload: LinkPayload, how: LinkControlClass): WireError | null {
    const seq = (linkSession(this.#state, ref)?.controlSeq ?? 0) + 1;
    const frame: LinkFrame<LinkPayload> =
      how.class === "overtaking"
        ? { kind: "overtaking", ref, seq, cutoff: how.cutoff, payload }
        : { kind: "positioned", ref, seq, lastMediaSeq: 0, payload };
    const encoded = frameToWire(this.#table, this.#role, frame, 0);
    if (!encoded.ok) return encoded.error;
    if (encoded.value.connection === "control") this.#controlOut.tried(payload, encoded.value.frame);
    return null;
  }

  consumedOf(ref: number, audioUs: number, bytes: number): void {
    this.#act(linkStep(this.#state, { kind: "consumed", ref, audioUs, bytes }, this.#clock.nowNs()));
    this.#turns.plan();
  }

  /** As the machine has it, to be read; undefined once it ended. */
  sessionOf = (ref: number): Readonly<LinkSession<LinkPayload>> | undefined => linkSession(this.#state, ref);

  unbindOf(ref: number, reason: string): void {
    this.#act(linkStep(this.#state, { kind: "unbind", ref, reason }, this.#clock.nowNs()));
  }

  // --- reading ---

  #takeControl(message: LinkControlFrame): void {
    const { frame } = message;
    switch (frame.case) {
      case "ping":
        this.#controlOut.send([pongFrame(frame.value.nonce)]);
        return;
      case "pong":
      case "limits":
        return;
      case "goAway":
        this.#handlers.onGoAway?.(frame.value);
        return;
      case "fault":
        this.#handlers.onFault?.(frame.value);
        if (frame.value.sessionRef === 0) this.close("protocol_error");
        return;
      case "bind": {
        const ref = frame.value.sessionRef;
        const bound = tableBind(this.#table, frame.value);
        if (!bound.ok) return this.#refuseBind(ref, bound.error);
        this.#takeArrived({ control: message }, controlFrameFromWire(this.#table, this.#peer, message));
        for (const held of this.#held.take(ref)) {
          if ("media" in held) this.#takeMedia(held.media);
          else this.#takeControl(held.control);
        }
        return;
      }
      default:
        this.#takeArrived({ control: message }, controlFrameFromWire(this.#table, this.#peer, message));
    }
  }

  #takeMedia(event: LinkEvent): void {
    // The bytes alias the chunk they were read in; the event may be kept by whoever takes it.
    if (event.audio.length > 0) event.audio = new Uint8Array(event.audio);
    this.#takeArrived({ media: event }, mediaFromWire(this.#table, this.#peer, event));
  }

  #takeArrived(raw: Raw, arrived: Result<Arrived, WireError>): void {
    const connection = "media" in raw ? "media" : "control";
    if (!arrived.ok) this.#refuseMessage(connection, raw, arrived.error);
    else if (arrived.value.kind === "held") this.#held.hold(arrived.value.ref, raw, this.#readAtNs);
    else if (arrived.value.kind === "frame") {
      const out: Output[] = [];
      const { frame } = arrived.value;
      linkReceive(this.#state, connection, this.#state.incarnation, frame, this.#readAtNs, out);
      if (frame.kind === "overtaking") this.#writer.fence(frame.ref, this.#readAtNs);
      this.#act(out);
    }
  }

  #refuseBind(ref: number, error: WireError): void {
    this.#handlers.onNotice?.({ kind: "message_refused", ref, error });
    if (ref !== 0) this.#controlOut.send([breakFrame(ref, error, this.#domain)]);
  }

  /**
   * A refused event leaves a hole, which its lane declares as a gap. A refused control message would stop its lane for good,
   * so its session breaks off, and no other does.
   */
  #refuseMessage(connection: Connection, raw: Raw, error: WireError): void {
    const { ref, seq } = placeOf(raw);
    this.#handlers.onNotice?.({ kind: "message_refused", ref, error });
    if (error.reason === "session_ref_unknown") return;
    if (connection === "control" && this.#sessions.has(ref)) this.#breakOff(ref, error);
    else if (ref !== 0 && this.#faultsLeft > 0) {
      // A fault with ref 0 ends the pair; a message of no session is counted alone.
      this.#faultsLeft--;
      this.#controlOut.send([faultFrame(ref, seq, error, this.#domain)]);
    }
  }

  /** Breaks one session at both ends. */
  #breakOff(ref: number, error: WireError): void {
    this.#controlOut.send([breakFrame(ref, error, this.#domain)]);
    const { incarnation } = this.#state;
    const frame = { kind: "break", ref, reason: "bad_ref" } as const;
    this.#act(linkStep(this.#state, { kind: "frame", connection: "control", incarnation, frame }, this.#readAtNs));
  }

  // --- acting on what the machine says ---

  #act(out: Output[]): void {
    for (const output of out) this.#outputs.push(output);
    if (this.#acting) return;
    this.#acting = true;
    try {
      for (let next = this.#outputs.shift(); next !== undefined; next = this.#outputs.shift()) this.#actOn(next);
    } finally {
      this.#acting = false;
    }
  }

  #actOn(output: Output): void {
    switch (output.kind) {
      case "transmit":
        if (output.incarnation === this.#state.incarnation) this.#transmit(output.connection, output.frames);
        return;
      case "close_connection":
        this.#closeWire(output.connection, output.incarnation, output.reason);
        return;
      case "pair_up":
        this.#faultsLeft = limits.LINK_FAULTS_MAX;
        this.#silence.start();
        this.#handlers.onPairUp?.(output.incarnation);
        return;
      case "pair_dead":
        this.#pairDown(output.incarnation, output.reason);
        return;
      case "session_opened":
        if (output.origin === "peer") this.#acceptSession(output.ref, output.constants);
        return;
      case "session_bound":
        this.#sessions.get(output.ref)?.handlers.onBound?.();
        return;
      case "session_closed": {
        const { by, reason, ref } = output;
        if (by === "peer") this.#writer.forget(ref);
        this.#endSession(ref)?.onClosed?.(reason, by);
        return;
      }
      case "session_broken": {
        const { ref, reason, peerAcked, acted, unsentItems } = output;
        this.#writer.forget(ref);
        this.#endSession(ref)?.onBroken?.({ reason, peerAcked, acted, unsentItems });
        return;
      }
      case "frame_refused":
      case "dropped":
      case "send_refused":
      case "bind_refused":
        this.#handlers.onNotice?.(output);
        return;
      default:
        this.#deliver(output);
    }
  }

  #deliver(output: Delivered): void {
    const incoming = incomingOf(output, this.#readAtNs);
    try {
      if (incoming !== null) this.#sessions.get(output.ref)?.handlers.onEvent(incoming);
    } catch (failure) {
      this.#handlers.onNotice?.({ kind: "handler_failed", ref: output.ref, failure });
      this.#breakOff(output.ref, wireError("malformed_frame", { problem: "handler_failed" }));
    }
  }

  #acceptSession(ref: number, constants: SessionConstants): void {
    const port = new LinkSessionEnd(this, ref, constants, "peer");
    const handlers = this.#handlers.onSession(port);
    if (!port.ended) this.#sessions.set(ref, { port, handlers });
  }

  #endSession(ref: number): LinkSessionHandlers | undefined {
    const session = this.#sessions.get(ref);
    this.#sessions.delete(ref);
    tableUnbind(this.#table, ref);
    session?.port.markEnded();
    return session?.handlers;
  }

  // --- writing ---

  #transmit(connection: Connection, frames: readonly LinkFrame<LinkPayload>[]): void {
    if (connection === "media") {
      this.#writer.send(frames, this.#clock.nowNs());
      return;
    }
    const messages: LinkControlFrame[] = [];
    for (const frame of frames) {
      const again = this.#controlOut.again(frame);
      if (again !== null) {
        messages.push(again);
        continue;
      }
      const binding = frame.kind === "bind" ? this.#table.bindings.get(frame.ref) : undefined;
      const encoded = frameToWire(this.#table, this.#role, frame, binding?.baseWallMs ?? 0);
      // It was checked before it was sent, so its session has ended meanwhile.
      if (encoded.ok && encoded.value.connection === "control") messages.push(encoded.value.frame);
    }
    this.#controlOut.send(messages);
  }

  /** Deadlines, receipts, and steady media by the flush policy (architecture.md, decision 5). */
  #turn(): void {
    if (this.#state.phase === "down") return;
    const now = this.#clock.nowNs();
    const out: Output[] = [];
    this.#held.expire(now);
    linkTick(this.#state, now, !this.#clock.busy(), out);
    this.#act(out);
  }

  // --- connections ---

  #attach(connection: Connection, incarnation: number, wire: ControlWire | MediaWire, keep: () => void): void {
    const { incarnation: known, phase, connected } = this.#state;
    if (incarnation < known || (incarnation === known && (phase === "down" || connected[connection]))) {
      const metadata = { known_incarnation: String(known) };
      wire.close(rpcError(ErrorReason.INCARNATION_MISMATCH, { domain: this.#domain, metadata }));
      return;
    }
    const out: Output[] = [];
    linkConnected(this.#state, connection, incarnation, this.#clock.nowNs(), out);
    if (incarnation > known) {
      // The old pair goes down before anything of the new one is there.
      this.#act(out.splice(0));
      this.#table = bindingTableCreate();
    }
    keep();
    this.#act(out);
    this.#turns.plan();
  }

  #closeWire(connection: Connection, incarnation: number, reason: string): void {
    if (connection === "control") this.#controlOut.flush();
    const held = connection === "control" ? this.#control : this.#media;
    if (held === null || held.incarnation !== incarnation) return;
    if (connection === "control") this.#control = null;
    else this.#media = null;
    const orderly = this.#downAs === "closed";
    const why = { domain: this.#domain, metadata: { pair: this.#downAs ?? reason } };
    held.wire.close(orderly ? null : rpcError(ErrorReason.INCARNATION_MISMATCH, why));
  }

  #pairDown(incarnation: number, reason: LinkDown): void {
    const why = this.#downAs ?? reason;
    this.#closeWire("control", incarnation, reason);
    this.#closeWire("media", incarnation, reason);
    this.#downAs = null;
    this.#writer.use(null);
    this.#held.clear();
    this.#controlOut.reset();
    this.#turns.stop();
    this.#silence.stop();
    this.#handlers.onPairDown?.(incarnation, why);
  }
}
