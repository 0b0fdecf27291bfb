/** Control messages on their way out of one end of a link: at once, but what one piece of work causes goes together. */
import type { LinkControlFrame } from "@rspp/gen/rspp/runtime/v1/link_pb";
import type { LinkFrame } from "@rspp/protocol/link-types";
import type { LinkPayload } from "@rspp/wire/link-control";
import { limits } from "./limits.ts";
import type { ControlWire } from "./link-wires.ts";

export class ControlWriter {
  readonly #wire: () => ControlWire | undefined;
  readonly #overflow: () => void;
  /** The message tried last, as it was encoded; it is sent next. */
  #tried: { readonly payload: LinkPayload; readonly frame: LinkControlFrame } | null = null;
  #waiting: LinkControlFrame[] = [];
  #inFlight = 0;

  /** `overflow`: more is on its way than the peer takes. */
  constructor(wire: () => ControlWire | undefined, overflow: () => void) {
    this.#wire = wire;
    this.#overflow = overflow;
  }

  /** It was encoded to see whether it may be sent. */
  tried(payload: LinkPayload, frame: LinkControlFrame): void {
    this.#tried = { payload, frame };
  }

  /** What was tried is not encoded twice: it only gets its place. Null for what was not. */
  again(frame: LinkFrame<LinkPayload>): LinkControlFrame | null {
    const tried = this.#tried;
    if (tried === null || (frame.kind !== "positioned" && frame.kind !== "overtaking")) return null;
    const carried = tried.frame.frame;
    if (frame.payload !== tried.payload || carried.case !== frame.kind) return null;
    this.#tried = null;
    carried.value.sequence = frame.seq;
    if (carried.case === "positioned" && frame.kind === "positioned")
      carried.value.lastMediaSequence = frame.lastMediaSeq;
    return tried.frame;
  }

  /** Each message costs both ends more than its bytes, so those of one piece of work share one. */
  send(frames: readonly LinkControlFrame[]): void {
    if (frames.length === 0 || this.#wire() === undefined) return;
    if (this.#waiting.length === 0) queueMicrotask(() => this.flush());
    this.#waiting.push(...frames);
  }

  flush(): void {
    const wire = this.#wire();
    const waiting = this.#waiting;
    this.#waiting = [];
    if (wire === undefined) return;
    for (let from = 0; from < waiting.length; from += limits.LINK_FRAMES_PER_MESSAGE_MAX) {
      const frames = waiting.slice(from, from + limits.LINK_FRAMES_PER_MESSAGE_MAX);
      this.#inFlight += frames.length;
      wire.send(frames, () => {
        if (wire === this.#wire()) this.#inFlight -= frames.length;
      });
    }
    if (this.#inFlight > limits.LINK_CONTROL_IN_FLIGHT_ITEMS_MAX) this.#overflow();
  }

  /** The pair went down. */
  reset(): void {
    this.#waiting = [];
    this.#tried = null;
    this.#inFlight = 0;
  }
}
