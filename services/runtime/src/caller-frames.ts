import { limits } from "./limits.ts";

interface Frame {
  ref: number;
  /** Media time of its last sample, microseconds. */
  endUs: number;
  stampNs: number;
  bytes: Uint8Array;
  /** False once it was freed ahead of those before it. */
  held: boolean;
}

const firstSlots = 8;
/** Memory of larger frames is let go. */
const REUSED_BYTES_MAX = 4_096;
const none = new Uint8Array(0);

/**
 * The caller's latest frames, by refs that rise. They live for half a second, as long as a collector of garbage likes
 * least, and there are fifty a second: each is copied into the memory of one that is gone (P2). What is read here stays as
 * it is until it is freed, no longer.
 */
export class CallerFrames {
  private slots: Frame[] = [];
  private head = 0;
  private size = 0;
  /** Frames held, and their bytes. */
  items = 0;
  bytes = 0;

  /** The oldest goes where CALLER_AUDIO_ITEMS_MAX are there. */
  push(ref: number, content: Uint8Array, endUs: number, stampNs: number): void {
    if (this.size >= limits.CALLER_AUDIO_ITEMS_MAX) this.shift();
    if (this.size === this.slots.length) this.grow();
    const frame = this.slots[this.slotOf(this.size)] as Frame;
    if (frame.bytes.length === content.length) frame.bytes.set(content);
    else frame.bytes = new Uint8Array(content);
    frame.ref = ref;
    frame.endUs = endUs;
    frame.stampNs = stampNs;
    frame.held = true;
    this.size += 1;
    this.items += 1;
    this.bytes += content.length;
  }

  audio(ref: number): Uint8Array | null {
    return this.find(ref)?.bytes ?? null;
  }

  stampOf(ref: number): number {
    return this.find(ref)?.stampNs ?? 0;
  }

  /** False where it is not held. */
  free(ref: number): boolean {
    const frame = this.find(ref);
    if (frame === null) return false;
    this.letGo(frame);
    return true;
  }

  freeBelow(ref: number): void {
    while (this.size > 0 && this.at(0).ref < ref) this.shift();
  }

  /** Frees what ends before `us`, oldest first. */
  freeEnded(us: number): void {
    while (this.size > 0 && this.at(0).endUs < us) this.shift();
  }

  clear(): void {
    this.slots = [];
    this.head = 0;
    this.size = 0;
    this.items = 0;
    this.bytes = 0;
  }

  private shift(): void {
    const frame = this.at(0);
    if (frame.held) this.letGo(frame);
    this.head = this.slotOf(1);
    this.size -= 1;
  }

  private letGo(frame: Frame): void {
    frame.held = false;
    this.items -= 1;
    this.bytes -= frame.bytes.length;
    if (frame.bytes.length > REUSED_BYTES_MAX) frame.bytes = none;
  }

  /** Newest first: that one is asked for most. */
  private find(ref: number): Frame | null {
    for (let i = this.size - 1; i >= 0; i--) {
      const frame = this.at(i);
      if (frame.ref === ref) return frame.held ? frame : null;
      if (frame.ref < ref) return null;
    }
    return null;
  }

  private at(index: number): Frame {
    return this.slots[this.slotOf(index)] as Frame;
  }

  private slotOf(index: number): number {
    const slot = this.head + index;
    return slot < this.slots.length ? slot : slot - this.slots.length;
  }

  private grow(): void {
    const ordered = this.slots.map((_, i) => this.at(i));
    const wanted = Math.min(limits.CALLER_AUDIO_ITEMS_MAX, Math.max(firstSlots, this.slots.length * 2));
    while (ordered.length < wanted) ordered.push({ ref: 0, endUs: 0, stampNs: 0, bytes: none, held: false });
    this.slots = ordered;
    this.head = 0;
  }
}
