/**
 * One session of one client, over all its connections. It outlives a connection by
 * `resumeWithinMs`, and replays what was missed from a bounded buffer (libs/protocol reattach; F-091, F-158).
 */
import { msToNs } from "@rspp/base/brand";
import { invariant } from "@rspp/base/invariant";
import type { Envelope } from "@rspp/gen/rspp/event/v1/event_pb";
import type { ClientFrame, ServerFrame } from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { Clock } from "@rspp/ports/clock";
import type { AudioFormat } from "@rspp/ports/provider";
import type { OpenedSession, SessionNote, TokenClaims } from "@rspp/ports/session-opener";
import type { TransportEgress } from "@rspp/ports/transport";
import {
  reattachDetached,
  reattachRequest,
  reattachTurn,
  replayAcked,
  replayFence,
} from "@rspp/protocol/reattach-server";
import type { Fence, Flush } from "@rspp/transport/agent-line";
import type { CallerAudio } from "@rspp/transport/audio-in";
import type { Media } from "@rspp/transport/audio-out";
import type { GateReason } from "@rspp/transport/receiver-gate";
import { kept, type LineStats, SessionLine } from "@rspp/transport/session-line";
import { reasonToWire } from "@rspp/wire/reason";
import { ClientReports } from "./client-played.ts";
import { ClientSignals } from "./client-signals.ts";
import { DroppedAudio } from "./dropped-audio.ts";
import { createEventWriter, type EventWriter } from "./events.ts";
import { recordFrame } from "./frame-codec.ts";
import { limits } from "./limits.ts";
import type { FramedBytes } from "./media-frame.ts";
import { openedFrame } from "./opened-frame.ts";
import { Outbox, type OutItem } from "./outbox.ts";
import { type CloseCode, closeCodes, type Refusal, refusalOf } from "./refusal.ts";
import { againItem, bindingOf, ResumeRecords } from "./resume-records.ts";

type Message = ServerFrame["message"];

/** The connection a call speaks through, while it has one. */
export interface ClientLink {
  readonly wantDebug: boolean;
  readonly wantMetrics: boolean;
  /** What is not kept for a resume. */
  write(sequence: number, message: Message): void;
  /** What is kept, as `recordFrame` made it. */
  writeRecord(record: Uint8Array): void;
  /** The same for audio, framed already. */
  writeFramed(framed: FramedBytes): void;
  /** Bytes given to the socket that have not left. */
  buffered(): number;
  close(code: CloseCode, text: string): void;
}

export interface CallOptions {
  clock: Clock;
  claims: TokenClaims;
  resumeKey: string;
  audio: CallerAudio;
  output: AudioFormat;
  resumeWithinMs: number;
  onOver(call: Call, reason: string): void;
}

export interface CallStats extends LineStats {
  mediaDropped: number;
  attachments: number;
  queuedBytes: number;
  replayBytes: number;
}

export class Call {
  readonly options: CallOptions;
  readonly line: SessionLine;
  readonly #reports: ClientReports;
  readonly #signals: ClientSignals;
  readonly #events: EventWriter;
  readonly #outbox = new Outbox();
  readonly #records: ResumeRecords;
  #link: ClientLink | null = null;
  #unobserve: (() => void) | null = null;
  #detachedNs = 0;
  #attachment = 1;
  readonly #dropped = new DroppedAudio();
  #lastWriteNs = 0;

  constructor(options: CallOptions) {
    this.options = options;
    const { clock, claims, audio, output } = options;
    this.#records = new ResumeRecords(claims.session, bindingOf(claims));
    this.line = new SessionLine({
      clock,
      claims,
      audio,
      output,
      end: {
        media: (media) => this.#sendMedia(media),
        cut: (fenced) => this.#cut(fenced),
        flush: (fence, flush) => this.#sendFlush(fence, flush),
        control: (message) => this.#sendControl(message),
        text: (message) => this.#sendText(message),
        // What waits is written first, and what is said now with it.
        closing: () => {},
        sent: () => this.pump(),
        over: (reason) => this.#ended(reason),
      },
    });
    this.#reports = new ClientReports(this.line.agent);
    this.#signals = new ClientSignals(this.line);
    this.#events = createEventWriter(clock, () => ({
      tenant: claims.tenant,
      session: claims.session,
      pipelineVersion: claims.pipelineVersion,
      epoch: Math.max(1, this.line.gate.floor()),
    }));
  }

  /** A session that another adapter had; `seen` are its client's last frames. */
  goOn(opened: OpenedSession, link: ClientLink, seen: { server: number; audio: number; signals: number }): void {
    this.#records.goOnAfter(seen.server);
    this.line.caller.goOnAfter(seen.audio, opened.adopted ?? { audioThrough: 0, controlThrough: 0 });
    this.#signals.goOnAfter(seen.signals);
    link.write(0, this.openedFrame(true));
    this.begin(link);
  }

  /** The session is open; what the runtime has said meanwhile is heard now. */
  begin(link: ClientLink): void {
    this.#attach(link);
    this.line.connected();
    this.pump();
  }

  /** A valid frame of audio; what is wrong with it, or null. The bytes are looked at before this returns. */
  audio(sequence: number, data: Uint8Array, durationUs: number): Refusal | null {
    const problem = this.line.audio(sequence, data, durationUs);
    return problem === null ? null : refusalOf(problem);
  }

  /** A valid frame of the client; what is wrong with it, or null. */
  frame(message: ClientFrame["message"]): Refusal | null {
    if (this.line.isOver()) return null;
    switch (message.case) {
      case "audio":
        return this.audio(Number(message.value.sequence), message.value.data, message.value.durationUs);
      case "signal":
        return this.#signals.take(message.value);
      case "played":
        return this.#reports.played(message.value);
      case "ping": {
        const { nonce, lastServerSequence } = message.value;
        replayAcked(this.#records.state, { control: 0, telemetry: 0, data: Number(lastServerSequence) });
        this.#pong(nonce, false);
        return null;
      }
      default:
        return null;
    }
  }

  #pong(nonce: bigint, last: boolean): void {
    const [audioSequence, signalSequence] = [BigInt(this.line.caller.audioSeen()), BigInt(this.#signals.seen())];
    const value = { $typeName: "rspp.transport.v1.ServerPong" as const, nonce, audioSequence, signalSequence, last };
    this.#link?.write(0, { case: "pong", value });
  }

  /** Tells the client what was wrong with a frame of its. */
  tell(refused: Refusal): void {
    this.#event(this.#events.error(refused), "control", 512);
    this.pump();
  }

  /** The session as its first frame names it. */
  openedFrame(resumed: boolean): Message {
    const seen = { audio: this.line.caller.audioSeen(), signals: this.#signals.seen() };
    const value = openedFrame(this.options, seen, resumed);
    return { case: "opened", value };
  }

  /** A client that comes back. `attempt` numbers are the server's: whoever holds the key and comes later wins. */
  resume(claims: TokenClaims, lastSequence: number, link: ClientLink): "resumed" | "too_old" | "refused" {
    const attempt = this.#records.state.lastAttempt + 1;
    const lastReceived = { control: 0, telemetry: 0, data: lastSequence };
    const { openTurn, tokenRef } = this.#records.state;
    const request = { session: claims.session, tokenRef: bindingOf(claims), attempt, lastReceived, openTurn };
    const wasAway = this.#link === null;
    if (claims.session !== this.options.claims.session || request.tokenRef !== tokenRef) return "refused";
    const answer = reattachRequest(this.#records.state, request, this.options.clock.nowNs());
    if (answer.kind === "refused") return "refused";
    if (answer.kind === "too_old") {
      // What it missed is gone: it cannot go on as if nothing had happened.
      reattachDetached(this.#records.state, answer.attachment, this.options.clock.nowNs());
      return "too_old";
    }
    this.#attachment = answer.attachment;
    const missed = answer.events.map(againItem);
    this.#link?.close(closeCodes.replaced, "replaced: another connection has taken the session over");
    this.#outbox.disconnected();
    this.#spill();
    this.#attach(link);
    link.write(0, this.openedFrame(true));
    // With what was recorded while the answer was made.
    this.#outbox.pushAgain([...missed, ...this.#records.since(answer.resumeAt.data)]);
    if (wasAway) this.line.connected();
    this.pump();
    return "resumed";
  }

  /** The connection is gone; the session waits. Only the present connection counts. */
  detach(link: ClientLink | null, reason: string): boolean {
    if (this.line.isOver() || link === null || link !== this.#link) return false;
    this.#link = null;
    this.#unobserve?.();
    this.#unobserve = null;
    this.#detachedNs = this.options.clock.nowNs();
    reattachDetached(this.#records.state, this.#attachment, this.options.clock.nowNs());
    this.#outbox.disconnected();
    this.#spill();
    this.line.away(reason);
    this.pump();
    return true;
  }

  /** Nothing is being said to the client. */
  quiet(): boolean {
    return this.#records.state.openTurn === null && this.line.quiet();
  }

  /** This adapter stops: the client is sent to another one, the session waits for that. False where it cannot. */
  handOff(): boolean {
    const link = this.#link;
    if (!this.line.mayLeave()) return false;
    this.#pong(0n, true);
    this.detach(link, "draining");
    link?.close(closeCodes.goingAway, "draining: connect again, the session goes on");
    this.line.leave("handed_off");
    return true;
  }

  /** Looks at what time has done: away for too long, or a socket that takes nothing. */
  tick(): void {
    if (this.line.isOver()) return;
    const nowNs = this.options.clock.nowNs();
    if (this.#link === null) {
      const away = nowNs - this.#detachedNs;
      if (this.line.isOpen() && away >= msToNs(this.options.resumeWithinMs)) this.line.giveUp("connection_lost");
      return;
    }
    const waits = this.#outbox.size() > 0 || this.#link.buffered() > 0;
    if (!waits) this.#lastWriteNs = nowNs;
    else if (nowNs - this.#lastWriteNs > msToNs(limits.WRITE_STALL_MS)) {
      this.#link.close(
        closeCodes.stalled,
        `write_stalled: nothing left for ${limits.WRITE_STALL_MS} ms; read, or resume`,
      );
    }
  }

  /** The socket has taken something: more may go. */
  progressed(): void {
    this.#lastWriteNs = this.options.clock.nowNs();
    this.pump();
  }

  /** Writes as much as the socket takes ahead of the wire; the rest waits where it can be overtaken. */
  pump(): void {
    const link = this.#link;
    if (link === null) this.#spill();
    // Who has hung up does not come back; anyone else may, and hear how it ended.
    const closing = this.line.closing();
    if (link === null && !(this.line.callerGone() && closing !== null)) return;
    while (link !== null && link === this.#link && link.buffered() < limits.WRITE_AHEAD_BYTES) {
      const again = this.#outbox.shiftAgain();
      if (again !== undefined) {
        link.writeRecord(again.record);
        continue;
      }
      const item = this.#outbox.shift();
      if (item === undefined) break;
      if (item.lane === "telemetry") link.write(0, item.message);
      else link.writeRecord(this.#record(item));
    }
    if (closing !== null && this.#outbox.size() === 0) this.line.finish(closing);
  }

  attached(): boolean {
    return this.#link !== null;
  }

  stats(): CallStats {
    return {
      ...this.line.stats(),
      mediaDropped: this.#dropped.frames,
      attachments: this.#attachment,
      queuedBytes: this.#outbox.bytes() + (this.#link?.buffered() ?? 0),
      replayBytes: this.#records.state.bytes,
    };
  }

  #sendControl(message: Extract<TransportEgress, { kind: "control" }>): GateReason | undefined {
    if (message.signal === "turn_open") reattachTurn(this.#records.state, message.turn);
    if (message.signal === "close") reattachTurn(this.#records.state, null);
    const made = this.#events.control(message);
    if (!made.ok) return "illegal";
    this.#event(made.value, "control", 512);
    return undefined;
  }

  #sendText(message: Extract<TransportEgress, { kind: "text" }>): GateReason | undefined {
    const made = this.#events.text(message);
    if (!made.ok) return "illegal";
    this.#event(made.value, "control", 256 + 3 * message.text.length);
    return undefined;
  }

  #attach(link: ClientLink): void {
    this.#link = link;
    this.#lastWriteNs = this.options.clock.nowNs();
    const kinds: SessionNote["kind"][] = ["error"];
    if (link.wantMetrics) kinds.push("metrics");
    if (link.wantDebug) kinds.push("debug");
    this.#unobserve?.();
    this.#unobserve = this.line.observe(kinds, (note) => this.#note(note));
  }

  #note(note: SessionNote): void {
    const made = this.#events.note(note);
    if (!made.ok) return this.line.gate.refuse("illegal");
    this.#event(made.value, note.kind === "error" ? "control" : "telemetry", 384);
    this.pump();
  }

  #event(event: Envelope, lane: OutItem["lane"], bytes: number): void {
    const value = { $typeName: "rspp.transport.v1.ServerEvent" as const, event };
    this.#push({ lane, message: { case: "event", value }, bytes, turn: event.turnNumber, generation: 0 });
  }

  #sendMedia(media: Media): void {
    const { turn, generation } = media;
    const untilUs = media.offsetUs + media.durationUs;
    const link = this.#link;
    if (link !== null && this.#free(link)) {
      const framed = this.#events.frame(this.#records.next(), media);
      const nowNs = this.options.clock.nowNs();
      this.#records.keep(framed.bytes, framed.header, turn > 0 ? turn : null, generation, nowNs);
      this.line.agent.written(turn, generation, untilUs);
      link.writeFramed(framed);
      return;
    }
    const event = this.#events.media(kept(media));
    const message: Message = { case: "event", value: { $typeName: "rspp.transport.v1.ServerEvent", event } };
    const onSequence = (): void => this.line.agent.written(turn, generation, untilUs);
    const item: OutItem = { lane: "media", message, bytes: media.bytes.byteLength + 256, turn, generation, onSequence };
    if (this.#outbox.push(item) === "dropped") return this.#drop(media);
    this.#noteDropped();
  }

  /** Nothing waits that would have to go first. */
  #free(link: ClientLink): boolean {
    return this.#dropped.none && this.#outbox.size() === 0 && link.buffered() < limits.WRITE_AHEAD_BYTES;
  }

  /** The client is slow: its audio goes, with notice. The end mark stays, else the turn would never settle. */
  #drop(media: Media): void {
    if (this.#dropped.add(media)) this.#noteDropped();
    if (!media.end) return;
    this.#noteDropped();
    const event = this.#events.media({ ...media, bytes: new Uint8Array(0), durationUs: 0 });
    this.#event(event, "control", 256);
  }

  #noteDropped(): void {
    for (const notice of this.#dropped.take()) {
      const made = this.#events.control(notice);
      invariant(made.ok, "a drop notice is legal", made);
      this.#event(made.value, "control", 512);
    }
  }

  #sendFlush({ turn, generation, all, reason }: Fence, flush: Flush): void {
    const value = {
      $typeName: "rspp.transport.v1.ServerFlush" as const,
      turnNumber: Math.max(1, turn),
      fenceGeneration: generation,
      allEarlierTurns: all,
      reason: reasonToWire(reason).reason,
    };
    const onSequence = (sequence: number): void => this.#reports.flushWritten(sequence, flush);
    this.#push({ lane: "control", message: { case: "flush", value }, bytes: 64, turn: 0, generation: 0, onSequence });
    replayFence(this.#records.state, { turn, generation, olderTurns: all });
    if (this.#link === null) this.line.agent.away();
  }

  /** What was dropped before a cut is told before it. */
  #cut(fenced: (turn: number, generation: number) => boolean): number {
    this.#noteDropped();
    return this.#outbox.cut(fenced);
  }

  #push(item: OutItem): void {
    if (this.#link === null && item.lane === "telemetry") return;
    const result = this.#outbox.push(item);
    if (result !== "overflow" || this.#link === null) return;
    this.#link.close(closeCodes.slow, "slow_client: too much waits unread; read faster, then resume");
  }

  /** Nobody listens: what would have been written is kept for whoever comes back. */
  #spill(): void {
    for (let item = this.#outbox.shift(); item !== undefined; item = this.#outbox.shift()) {
      if (item.lane !== "telemetry") this.#record(item);
    }
  }

  #record(item: OutItem): Uint8Array {
    const turn = item.lane === "media" && item.turn > 0 ? item.turn : null;
    const record = recordFrame(this.#records.next(), item.message);
    const sequence = this.#records.keep(record, 0, turn, item.generation, this.options.clock.nowNs());
    item.onSequence?.(sequence);
    return record;
  }

  #ended(reason: string): void {
    this.#unobserve?.();
    const link = this.#link;
    this.#link = null;
    if (link !== null) {
      const value = { $typeName: "rspp.transport.v1.ServerClosed" as const, reason: reasonToWire(reason).reason };
      link.write(0, { case: "closed", value });
      link.close(closeCodes.done, reason);
    }
    this.options.onOver(this, reason);
  }
}
