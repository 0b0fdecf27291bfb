/**
 * A frame of audio read from its bytes without making a message of it: fifty come each second of every call (P2). Read is
 * only what could not be written in any other way and what passes every rule of the contract; all else is left to the
 * decoder, which names what is wrong.
 */
import { limits } from "./limits.ts";

/** Tags of the contract: ClientFrame.audio, and the fields of ClientAudio in their order. */
const AUDIO = 0x12;
const SEQUENCE = 0x08;
const DATA = 0x12;
const DURATION_US = 0x18;
/** Rules of ClientAudio. */
const DATA_BYTES_MAX = 262_144;
const DURATION_US_MAX = 10_000_000;

/** One per connection, filled anew by every frame. */
export class AudioFrame {
  sequence = 0;
  durationUs = 0;
  /** Where in the frame its samples stand. */
  from = 0;
  to = 0;
  #at = 0;

  /** False where the frame is no plain, valid frame of audio; the fields then mean nothing. */
  read(frame: Uint8Array): boolean {
    if (frame[0] !== AUDIO || frame.length > limits.FRAME_BYTES_MAX) return false;
    this.#at = 1;
    if (this.#varint(frame) !== frame.length - this.#at || frame[this.#at] !== SEQUENCE) return false;
    this.#at += 1;
    this.sequence = this.#varint(frame);
    if (!(this.sequence >= 1) || frame[this.#at] !== DATA) return false;
    this.#at += 1;
    const length = this.#varint(frame);
    if (!(length >= 1 && length <= DATA_BYTES_MAX)) return false;
    this.from = this.#at;
    this.to = this.#at + length;
    this.#at = this.to;
    this.durationUs = 0;
    if (this.#at < frame.length) {
      if (frame[this.#at] !== DURATION_US) return false;
      this.#at += 1;
      this.durationUs = this.#varint(frame);
      if (!(this.durationUs >= 1 && this.durationUs <= DURATION_US_MAX)) return false;
    }
    return this.#at === frame.length;
  }

  /** NaN where it is not written in its shortest form or cannot be held exactly. */
  #varint(frame: Uint8Array): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 7; i++) {
      const byte = frame[this.#at] ?? 0x80;
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return byte === 0 && i > 0 ? Number.NaN : value;
      scale *= 128;
    }
    return Number.NaN;
  }
}
