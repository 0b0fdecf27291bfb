/** One WebSocket connection: the opening, the frames, the end. Nothing that comes in may throw or be kept unbounded. */

import type { Duplex } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { msToNs } from "@rspp/base/brand";
import type { Result } from "@rspp/base/result";
import { Reason } from "@rspp/gen/rspp/common/v1/reason_pb";
import {
  type ClientFrame,
  type ClientOpen,
  type ServerFrame,
  ServerFrameSchema,
} from "@rspp/gen/rspp/transport/v1/websocket_pb";
import type { Clock } from "@rspp/ports/clock";
import { limits as shared } from "@rspp/transport/limits";
import { ascii, closeText } from "@rspp/transport/problem";
import type { WebSocket } from "ws";
import { AudioFrame } from "./audio-frame.ts";
import type { Call, ClientLink } from "./call.ts";
import { decodeClientFrame, encodeServerFrame, type FrameEncoding, recordedFrame } from "./frame-codec.ts";
import { limits, PROTOCOL_VERSION } from "./limits.ts";
import type { FramedBytes } from "./media-frame.ts";
import { type CloseCode, closeCodes, fieldRefusal, type Refusal, refusal, wireRefusal } from "./refusal.ts";

export interface ConnectionHost {
  readonly clock: Clock;
  /** Opens or resumes the session that the frame asks for, and attaches `link` to it. */
  open(frame: ClientOpen, link: ClientLink): Promise<Result<Call, Refusal>>;
  refused(why: Refusal, connection: Connection): void;
  closed(connection: Connection, code: number): void;
}

export interface ConnectionCounts {
  framesIn: number;
  framesOut: number;
  badFrames: number;
  /** Payload bytes before compression and framing. */
  bytesIn: number;
  bytesOut: number;
  /** Time from handing a frame to the socket to its being written, compression included, nanoseconds (F-031). */
  writeNs: number;
}

/** From the handshake to an open session, whatever verifier and runtime do. */
const OPENING_MS = limits.OPEN_DEADLINE_MS + 2 * shared.OPENER_DEADLINE_MS;

/** A frame of which the socket may keep a rest without anybody being told when that has left. */
const UNWATCHED_BYTES_MAX = 4_096;

type State = "waiting" | "opening" | "open" | "closed";

export class Connection implements ClientLink {
  readonly counts: ConnectionCounts = { framesIn: 0, framesOut: 0, badFrames: 0, bytesIn: 0, bytesOut: 0, writeNs: 0 };
  wantDebug = false;
  wantMetrics = false;
  call: Call | null = null;
  readonly #socket: WebSocket;
  /** The socket below, for frames that are whole; null where frames are text or compressed. */
  readonly #raw: Duplex | null;
  readonly #written = (): void => this.#left();
  /** Frames handed to the socket below that have not left, and the sum of their stamps, their own ones negative. */
  #leaving = 0;
  #leavingNs = 0;
  readonly #encoding: FrameEncoding;
  readonly #host: ConnectionHost;
  readonly #early: { data: Uint8Array; binary: boolean }[] = [];
  readonly #audio = new AudioFrame();
  #earlyBytes = 0;
  #state: State = "waiting";
  readonly #sinceNs: number;
  #lastInNs: number;
  #closeNs = 0;

  constructor(socket: WebSocket, raw: Duplex, encoding: FrameEncoding, host: ConnectionHost) {
    this.#socket = socket;
    this.#raw = encoding === "binary" && socket.extensions === "" ? raw : null;
    this.#encoding = encoding;
    this.#host = host;
    this.#sinceNs = host.clock.nowNs();
    this.#lastInNs = this.#sinceNs;
    socket.on("message", (data, binary) => this.#message(data instanceof Uint8Array ? data : bytesOf(data), binary));
    // What the socket itself refuses (too large, bad UTF-8, bad framing) ends in a close event with its code.
    socket.on("error", () => {});
    socket.on("close", (code) => this.#gone(code));
  }

  opened(): boolean {
    return this.#state === "open";
  }

  waiting(): boolean {
    return this.#state === "waiting" || this.#state === "opening";
  }

  buffered(): number {
    return this.#socket.bufferedAmount;
  }

  write(sequence: number, message: ServerFrame["message"]): void {
    if (this.#state === "closed") return;
    const frame = create(ServerFrameSchema, { sequence: BigInt(sequence), message });
    this.#send(encodeServerFrame(frame, this.#encoding));
  }

  writeRecord(record: Uint8Array): void {
    if (this.#state !== "closed") this.#send(recordedFrame(record, this.#encoding));
  }

  /** Past the sender of `ws`, which would write header and frame apart: nothing of it waits where nothing is compressed. */
  writeFramed({ bytes, header }: FramedBytes): void {
    if (this.#state === "closed") return;
    const raw = this.#raw;
    if (raw === null || this.#socket.readyState !== this.#socket.OPEN) return this.writeRecord(bytes.subarray(header));
    this.counts.framesOut += 1;
    this.counts.bytesOut += bytes.length - header;
    const startNs = this.#host.clock.nowNs();
    // Nearly all leave at once, and need no call back. One that does not is behind others that will, or holds nothing up.
    const plain = raw.writableLength === 0 && bytes.length <= UNWATCHED_BYTES_MAX;
    if (plain) raw.write(bytes);
    else raw.write(bytes, this.#written);
    if (plain) this.counts.writeNs += raw.writableLength === 0 ? this.#host.clock.nowNs() - startNs : 0;
    else this.#watch(startNs);
  }

  #watch(startNs: number): void {
    this.#leaving += 1;
    this.#leavingNs -= startNs;
  }

  #left(): void {
    this.#leaving -= 1;
    this.#leavingNs += this.#host.clock.nowNs();
    if (this.#leaving === 0) {
      this.counts.writeNs += this.#leavingNs;
      this.#leavingNs = 0;
    }
    this.call?.progressed();
  }

  #send(data: Uint8Array | string): void {
    this.counts.framesOut += 1;
    this.counts.bytesOut += data.length;
    const { clock } = this.#host;
    const startNs = clock.nowNs();
    this.#socket.send(data, () => {
      this.counts.writeNs += clock.nowNs() - startNs;
      this.call?.progressed();
    });
  }

  close(code: CloseCode, text: string): void {
    if (this.#state === "closed" || this.#closeNs > 0) return;
    this.#closeNs = this.#host.clock.nowNs();
    this.#socket.close(code, ascii(text));
  }

  /** A refusal that ends the connection: told in a last frame, and again in the close frame. */
  refuse(why: Refusal, reason: Reason = Reason.INVALID_EVENT): void {
    if (this.#state === "closed" || this.#closeNs > 0) return;
    this.#host.refused(why, this);
    const value = { $typeName: "rspp.transport.v1.ServerClosed" as const, reason, error: why.detail };
    this.write(0, { case: "closed", value });
    this.close(why.code, closeText(why.detail));
  }

  /** Looks at what time has done. */
  tick(): void {
    const nowNs = this.#host.clock.nowNs();
    if (this.#closeNs > 0) {
      if (nowNs - this.#closeNs > msToNs(limits.CLOSE_GRACE_MS)) this.#socket.terminate();
      return;
    }
    if (this.#state === "waiting" && nowNs - this.#sinceNs > msToNs(limits.OPEN_DEADLINE_MS)) {
      const remedy = `Send ClientOpen within ${limits.OPEN_DEADLINE_MS} ms of connecting.`;
      this.refuse(refusal("deadline_exceeded", closeCodes.deadline, { remedy }), Reason.TIMEOUT);
    } else if (this.#state === "opening" && nowNs - this.#sinceNs > msToNs(OPENING_MS)) {
      const remedy = "The token could not be verified, or the session not opened, in time: try again.";
      this.refuse(refusal("deadline_exceeded", closeCodes.tryLater, { remedy }), Reason.TIMEOUT);
    } else if (this.#state === "open" && nowNs - this.#lastInNs > msToNs(limits.IDLE_MS)) {
      this.close(closeCodes.deadline, `idle: no frame for ${limits.IDLE_MS} ms; send a ping, then resume`);
    }
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** Whatever comes in, a defect included, ends at most this connection. */
  #message(data: Uint8Array, binary: boolean): void {
    try {
      this.#take(data, binary);
    } catch {
      this.refuse(refusal("runtime_internal_error", closeCodes.internal), Reason.INTERNAL);
    }
  }

  #take(data: Uint8Array, binary: boolean): void {
    this.#lastInNs = this.#host.clock.nowNs();
    if (this.#closeNs > 0) return;
    if (this.#state === "opening") return this.#tooEarly(data, binary);
    this.counts.framesIn += 1;
    this.counts.bytesIn += data.byteLength;
    if (binary !== (this.#encoding === "binary")) return this.refuse(this.#wrongKind(binary));
    if (binary && this.#state === "open" && this.call !== null && this.#audio.read(data)) {
      const { sequence, from, to, durationUs } = this.#audio;
      const why = this.call.audio(sequence, new Uint8Array(data.buffer, data.byteOffset + from, to - from), durationUs);
      return why === null ? undefined : this.#bad(why);
    }
    const frame = decodeClientFrame(viewOf(data), this.#encoding);
    if (!frame.ok) {
      const large = frame.error.reason === "message_too_large";
      const why = wireRefusal(frame.error, large ? closeCodes.tooLarge : closeCodes.badFrame);
      return this.#state === "open" && !large ? this.#bad(why) : this.refuse(why);
    }
    this.#frame(frame.value);
  }

  #frame({ message }: ClientFrame): void {
    if (this.#state === "waiting") {
      if (message.case === "open") return this.#open(message.value);
      const said = `${message.case ?? "nothing"} came before open`;
      return this.refuse(outOfOrder(said, "The first frame is open, exactly once."));
    }
    if (message.case === "open") return this.#bad(outOfOrder("open came again", "Open a session once per connection."));
    const why = this.call?.frame(message) ?? null;
    if (why !== null) this.#bad(why);
  }

  /** The frame is refused, the session goes on; a client that sends nothing else is sent away. */
  #bad(why: Refusal): void {
    this.counts.badFrames += 1;
    if (this.counts.badFrames >= limits.BAD_FRAMES_MAX) return this.refuse(why);
    this.#host.refused(why, this);
    this.call?.tell(why);
  }

  #open(frame: ClientOpen): void {
    if (frame.protocolVersion !== PROTOCOL_VERSION) {
      const said = `is ${frame.protocolVersion}, this server speaks ${PROTOCOL_VERSION}`;
      return this.refuse(
        fieldRefusal("open.protocol_version", "version.supported", said, `use version ${PROTOCOL_VERSION}`),
      );
    }
    this.#state = "opening";
    this.wantDebug = frame.wantDebug;
    this.wantMetrics = frame.wantMetrics;
    void this.#host.open(frame, this).then((opened) => {
      if (this.#state === "closed" || this.#closeNs > 0) {
        if (opened.ok) opened.value.detach(this, "connection_lost");
        return;
      }
      if (!opened.ok) return this.refuse(opened.error);
      this.call = opened.value;
      this.#state = "open";
      for (const { data, binary } of this.#early.splice(0)) this.#message(data, binary);
      this.call.pump();
    });
  }

  /** A client need not wait for its session before it speaks; what it says meanwhile waits, bounded. */
  #tooEarly(data: Uint8Array, binary: boolean): void {
    this.#earlyBytes += data.byteLength;
    if (this.#early.length >= limits.EARLY_FRAMES_MAX || this.#earlyBytes > limits.EARLY_BYTES_MAX) {
      return this.refuse(outOfOrder("too much came before the session was open", "Wait for opened."));
    }
    this.#early.push({ data: new Uint8Array(data), binary });
  }

  #wrongKind(binary: boolean): Refusal {
    const [found, wanted] = binary ? ["a binary", "text"] : ["a text", "binary"];
    return {
      ...fieldRefusal(
        "frame",
        "frame.kind",
        `is ${found} message`,
        `send ${wanted} messages, or negotiate the other subprotocol (rspp.v1.proto is binary, rspp.v1.json is text)`,
      ),
      code: closeCodes.wrongKind,
    };
  }

  #gone(code: number): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#early.length = 0;
    this.#host.closed(this, code);
  }
}

function outOfOrder(said: string, remedy: string): Refusal {
  const violations = [{ field: "frame.message", rule: "frame.order", message: said }];
  return refusal("out_of_order", closeCodes.badFrame, { remedy, violations });
}

function bytesOf(data: ArrayBuffer | Buffer[]): Uint8Array {
  return Array.isArray(data) ? Buffer.concat(data) : new Uint8Array(data);
}

/** A plain view: a Buffer's own `slice` copies nothing, which those who are handed bytes do not expect. */
function viewOf(data: Uint8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
