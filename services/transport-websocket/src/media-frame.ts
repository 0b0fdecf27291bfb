/**
 * A frame of the agent's audio written straight to bytes, as the message would be (P2): fifty go out each second of every
 * call, and all that varies in them is a few numbers and the samples. In front stands the header of its WebSocket frame.
 */
import { Lane, Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { PayloadClass, PayloadHandling } from "@rspp/gen/rspp/event/v1/event_pb";
import type { Media } from "@rspp/transport/audio-out";
import { formatToWire } from "@rspp/transport/formats";
import { SCHEMA_VERSION_MAX } from "@rspp/wire/envelope";
import type { EventConstants } from "@rspp/wire/wire-event";

/** What is not the media's own. */
export interface MediaStamp {
  /** Of the frame, among those that are kept for a resume. */
  sequence: number;
  /** Makes the event's id. */
  event: number;
  monoNs: number;
  wallMs: number;
}

/** `bytes` is what the socket gets; the frame of the protocol begins behind the header. */
export interface FramedBytes {
  readonly bytes: Uint8Array;
  readonly header: number;
}

/** Field number and wire type, as they are written. */
const tag = {
  frameSequence: 0x08,
  frameEvent: 0x1a,
  eventEnvelope: 0x0a,
  schemaVersion: 0x08,
  lane: 0x10,
  scope: 0x18,
  transportSequence: 0x28,
  epoch: 0x30,
  turnNumber: 0x38,
  generation: 0x40,
  audio: 0x4a,
  format: 0x0a,
  data: 0x12,
  durationUs: 0x18,
  end: 0x20,
  tenant: [0x82, 0x01],
  session: [0x8a, 0x01],
  turnId: [0x92, 0x01],
  pipeline: [0x9a, 0x01],
  eventId: [0xa2, 0x01],
  monoNs: [0xd0, 0x01],
  wallMs: [0xd8, 0x01],
  mediaTime: [0xe2, 0x01],
  sampleIndex: 0x08,
  ptsUs: 0x10,
  rateHz: 0x18,
  payloadClass: [0x98, 0x02],
  payloadHandling: [0xa0, 0x02],
} as const;

const WORD_LOW = 2 ** 28;
const SLAB_BYTES = 65_536;
/** A larger frame gets memory of its own. */
const SLABBED_BYTES_MAX = SLAB_BYTES / 8;

/** Frames are written one behind the other into memory they share: an allocation of its own costs more than the frame. */
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let used = 0;

function reserve(size: number): Buffer {
  if (size > SLABBED_BYTES_MAX) return Buffer.allocUnsafeSlow(size);
  if (used + size > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    used = 0;
  }
  used += size;
  return slab.subarray(used - size, used);
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest /= 128) size += 1;
  return size;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest /= 10) digits += 1;
  return digits;
}

const NO_CONSTANTS: EventConstants = { tenant: "", session: "", pipelineVersion: "", epoch: 0 };

export class MediaFrames {
  #constants: EventConstants = NO_CONSTANTS;
  #format: Media["format"] | null = null;
  /** Tenant and session; pipeline; class and handling of the payload; form of the audio. */
  #names: Uint8Array = Buffer.alloc(0);
  #pipeline: Uint8Array = Buffer.alloc(0);
  #formatBytes: Uint8Array = Buffer.alloc(0);
  readonly #tail: Uint8Array = Buffer.from([
    ...[...tag.payloadClass, PayloadClass.RAW_AUDIO],
    ...[...tag.payloadHandling, PayloadHandling.ALLOW],
  ]);
  #out: Uint8Array = Buffer.alloc(0);
  #at = 0;

  /** Fields of `media` are known to be sound. Its bytes are copied. */
  write(constants: EventConstants, stamp: MediaStamp, media: Media): FramedBytes {
    this.#prepare(constants, media);
    const { turn, generation, sequence, durationUs, end, bytes } = media;
    const data = bytes.length;
    const audio =
      this.#formatBytes.length +
      (data === 0 ? 0 : 1 + varintSize(data) + data) +
      (durationUs === 0 ? 0 : 1 + varintSize(durationUs)) +
      (end ? 2 : 0);
    const time = mediaTimeSize(media);
    const turnId = turn === 0 ? 0 : 2 + digitsOf(turn);
    const eventId = 2 + digitsOf(stamp.event);
    const envelope =
      6 +
      optional(sequence, 1) +
      1 +
      varintSize(constants.epoch) +
      optional(turn, 1) +
      optional(generation, 1) +
      (1 + varintSize(audio) + audio + this.#names.length + (turnId === 0 ? 0 : 3 + turnId)) +
      (this.#pipeline.length + 3 + eventId + optional(stamp.monoNs, 2) + optional(stamp.wallMs, 2)) +
      (3 + time + this.#tail.length);
    const event = 1 + varintSize(envelope) + envelope;
    const frame = optional(stamp.sequence, 1) + 1 + varintSize(event) + event;
    const header = frame < 126 ? 2 : frame < 65_536 ? 4 : 10;
    const out = reserve(header + frame);
    this.#out = out;
    this.#at = 0;
    this.#header(frame);
    this.#number(tag.frameSequence, stamp.sequence);
    this.#length(tag.frameEvent, event);
    this.#length(tag.eventEnvelope, envelope);
    this.#place(constants, media);
    this.#length(tag.audio, audio);
    this.#sound(media);
    this.#copy(this.#names);
    if (turn > 0) this.#id(tag.turnId, 0x74, turn);
    this.#copy(this.#pipeline);
    this.#id(tag.eventId, 0x77, stamp.event);
    this.#stamp(tag.monoNs, stamp.monoNs);
    this.#stamp(tag.wallMs, stamp.wallMs);
    this.#mediaTime(media, time);
    this.#copy(this.#tail);
    return { bytes: out, header };
  }

  #prepare(constants: EventConstants, { format }: Media): void {
    const known = this.#constants;
    const { tenant, session, pipelineVersion } = constants;
    if (tenant !== known.tenant || session !== known.session || pipelineVersion !== known.pipelineVersion) {
      this.#constants = constants;
      this.#names = Buffer.concat([textField(tag.tenant, tenant), textField(tag.session, session)]);
      this.#pipeline = textField(tag.pipeline, pipelineVersion);
    }
    if (format === this.#format) return;
    this.#format = format;
    const { codec, sampleRateHz, channels } = formatToWire(format);
    const body = [tag.schemaVersion, ...varint(codec), 0x10, ...varint(sampleRateHz), 0x18, ...varint(channels)];
    this.#formatBytes = Buffer.from([tag.format, body.length, ...body]);
  }

  /** Of a server: final, binary, unmasked. */
  #header(length: number): void {
    const out = this.#out;
    out[0] = 0x82;
    if (length < 126) {
      out[1] = length;
      this.#at = 2;
    } else if (length < 65_536) {
      out[1] = 126;
      out[2] = length >> 8;
      out[3] = length & 0xff;
      this.#at = 4;
    } else {
      out[1] = 127;
      out.fill(0, 2, 6);
      for (let i = 0; i < 4; i++) out[6 + i] = (length >>> (24 - 8 * i)) & 0xff;
      this.#at = 10;
    }
  }

  #place({ epoch }: EventConstants, { turn, generation, sequence }: Media): void {
    this.#length(tag.schemaVersion, SCHEMA_VERSION_MAX);
    this.#length(tag.lane, Lane.DATA);
    this.#length(tag.scope, turn > 0 ? Scope.TURN : Scope.SESSION);
    this.#number(tag.transportSequence, sequence);
    this.#length(tag.epoch, epoch);
    this.#number(tag.turnNumber, turn);
    this.#number(tag.generation, generation);
  }

  #sound({ bytes, durationUs, end }: Media): void {
    this.#copy(this.#formatBytes);
    if (bytes.length > 0) {
      this.#length(tag.data, bytes.length);
      this.#copy(bytes);
    }
    this.#number(tag.durationUs, durationUs);
    if (end) this.#length(tag.end, 1);
  }

  #mediaTime({ offsetUs, format }: Media, size: number): void {
    this.#byte(tag.mediaTime[0]);
    this.#length(tag.mediaTime[1], size);
    const index = sampleIndex(offsetUs, format.rateHz);
    if (index < 0) return this.#length(tag.ptsUs, offsetUs);
    this.#length(tag.sampleIndex, index);
    this.#length(tag.rateHz, format.rateHz);
  }

  #stamp(two: readonly [number, number], value: number): void {
    if (value === 0) return;
    this.#byte(two[0]);
    this.#length(two[1], value);
  }

  /** `w-17`, where `letter` is the code of w. */
  #id(two: readonly [number, number], letter: number, value: number): void {
    const digits = digitsOf(value);
    this.#byte(two[0]);
    this.#length(two[1], 2 + digits);
    this.#byte(letter);
    this.#byte(0x2d);
    let rest = value;
    for (let i = this.#at + digits - 1; i >= this.#at; i--) {
      const next = Math.floor(rest / 10);
      this.#out[i] = 0x30 + (rest - next * 10);
      rest = next;
    }
    this.#at += digits;
  }

  /** What is zero is not written. */
  #number(one: number, value: number): void {
    if (value !== 0) this.#length(one, value);
  }

  #length(one: number, value: number): void {
    const out = this.#out;
    out[this.#at++] = one;
    let rest = value;
    // Beyond 28 bits the shifts of this language are of no use.
    while (rest >= WORD_LOW) {
      const next = Math.floor(rest / 128);
      out[this.#at++] = (rest - next * 128) | 0x80;
      rest = next;
    }
    while (rest >= 0x80) {
      out[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    out[this.#at++] = rest;
  }

  #byte(value: number): void {
    this.#out[this.#at++] = value;
  }

  #copy(bytes: Uint8Array): void {
    this.#out.set(bytes, this.#at);
    this.#at += bytes.length;
  }
}

function optional(value: number, tagSize: number): number {
  return value === 0 ? 0 : tagSize + varintSize(value);
}

/** As `mediaTimeAt` has it: -1 where the instant falls between two samples. */
function sampleIndex(offsetUs: number, rateHz: number): number {
  const scaled = offsetUs * rateHz;
  return Number.isSafeInteger(scaled) && scaled % 1_000_000 === 0 ? scaled / 1_000_000 : -1;
}

function mediaTimeSize({ offsetUs, format }: Media): number {
  const index = sampleIndex(offsetUs, format.rateHz);
  return index < 0 ? 1 + varintSize(offsetUs) : 2 + varintSize(index) + varintSize(format.rateHz);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return [...bytes, rest];
}

function textField(two: readonly [number, number], text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([...two, ...varint(bytes.length)]), bytes]);
}
