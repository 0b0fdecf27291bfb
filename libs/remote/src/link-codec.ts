/**
 * What both directions share: envelopes of one binding, and audio in the short form. Audio is made and read without the
 * general rules, which cost several times the coding; the bounds of its few numbers are compared here.
 */
import { create } from "@bufbuild/protobuf";
import { ok, type Result } from "@rspp/base/result";
import { Lane, Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type AudioFormat as AudioFormatMessage, AudioSchema } from "@rspp/gen/rspp/event/v1/audio_pb";
import { type Envelope, EnvelopeSchema, PayloadClass, PayloadHandling } from "@rspp/gen/rspp/event/v1/event_pb";
import type { MediaTime } from "@rspp/gen/rspp/event/v1/media_time_pb";
import type { AudioFormat } from "@rspp/ports/provider";
import type { LinkControlClass, SessionConstants } from "@rspp/rpc/link-api";
import { SCHEMA_VERSION_MAX } from "@rspp/wire/envelope";
import type { LinkPayload } from "@rspp/wire/link-control";
import { mediaTimeToWire } from "@rspp/wire/numbers";
import { formatFromWire, formatToWire } from "@rspp/wire/payload";
import { refuseField, type WireError } from "@rspp/wire/wire-error";
import { mediaTimeAt, turnIdOf } from "@rspp/wire/wire-event";
import { limits } from "./link-limits.ts";

/** A message of the session as a link takes it. */
export type LinkItem =
  | { readonly kind: "media"; readonly envelope: Envelope; readonly urgent: boolean }
  | { readonly kind: "control"; readonly payload: LinkPayload; readonly how: LinkControlClass };

export interface AudioInit {
  readonly eventId: string;
  readonly turn: number;
  readonly generation: number;
  /** Microseconds from the start of the stream or of the turn's output. */
  readonly mediaUs: number;
  readonly durationUs: number;
  readonly format: AudioFormat;
  readonly bytes: Uint8Array;
  readonly end: boolean;
  readonly idempotencyKey: string;
}

/** The constants of one binding, in the forms that events need. */
export class LinkCodec {
  readonly constants: SessionConstants;
  readonly epoch: bigint;
  /** Of the binding; also what its audio is given when it is read, so that a frame makes no new one. */
  readonly format: AudioFormat;
  readonly #wallMs: () => number;
  readonly #formats = new Map<string, AudioFormatMessage>();
  #lastFormat: { format: AudioFormat; message: AudioFormatMessage } | null = null;

  constructor(constants: SessionConstants, wallMs: () => number) {
    this.constants = constants;
    this.epoch = BigInt(constants.epoch);
    this.format = {
      codec: constants.codec,
      rateHz: constants.sampleRateHz,
      channels: constants.channels,
    } as AudioFormat;
    this.#wallMs = wallMs;
  }

  wallMs(): number {
    return this.#wallMs();
  }

  /** An event with audio; its bytes are shared, not copied. */
  audio(init: AudioInit): Result<Envelope, WireError> {
    const { turn, generation, mediaUs, durationUs, bytes } = init;
    if (!isUint32(turn)) return outside("turn_number", "uint32");
    if (!isUint32(generation)) return outside("fence_generation", "uint32");
    if (!isWhole(mediaUs, Number.MAX_SAFE_INTEGER)) return outside("media_time", "uint64.safe");
    if (!isWhole(durationUs, limits.AUDIO_DURATION_US_MAX)) return outside("audio.duration_us", "uint32.lte");
    const format = this.#formatOf(init.format);
    if (!format.ok) return format;
    const { constants } = this;
    const data = { format: format.value, data: bytes, durationUs, end: init.end };
    return ok(
      create(EnvelopeSchema, {
        schemaVersion: SCHEMA_VERSION_MAX,
        lane: Lane.DATA,
        scope: turn === 0 ? Scope.SESSION : Scope.TURN,
        authorityEpoch: this.epoch,
        turnNumber: turn,
        fenceGeneration: generation,
        payload: { case: "audio", value: create(AudioSchema, data) },
        tenantId: constants.tenant,
        sessionId: constants.session,
        turnId: turnIdOf(turn),
        pipelineVersion: constants.pipelineVersion,
        eventId: init.eventId,
        idempotencyKey: init.idempotencyKey,
        wallMs: BigInt(this.#wallMs()),
        mediaTime: mediaTimeToWire(mediaTimeAt(mediaUs, init.format.rateHz)),
        payloadClass: PayloadClass.RAW_AUDIO,
        payloadHandling: PayloadHandling.ALLOW,
      }),
    );
  }

  /** The port's form of a format that was read. */
  formatOf(message: AudioFormatMessage | undefined): AudioFormat {
    const format = formatFromWire(message) as AudioFormat;
    const { codec, rateHz, channels } = this.format;
    return format.codec === codec && format.rateHz === rateHz && format.channels === channels ? this.format : format;
  }

  #formatOf(format: AudioFormat): Result<AudioFormatMessage, WireError> {
    const last = this.#lastFormat;
    if (last !== null && sameFormat(last.format, format)) return ok(last.message);
    const key = `${format.codec}/${format.rateHz}/${format.channels}`;
    const known = this.#formats.get(key);
    if (known === undefined) {
      const made = formatToWire(format);
      if (!made.ok) return made;
      if (this.#formats.size < 16) this.#formats.set(key, made.value);
      this.#lastFormat = { format: { ...format }, message: made.value };
      return made;
    }
    this.#lastFormat = { format: { ...format }, message: known };
    return ok(known);
  }
}

function sameFormat(a: AudioFormat, b: AudioFormat): boolean {
  return a.codec === b.codec && a.rateHz === b.rateHz && a.channels === b.channels;
}

/** Audio in another format than the bound one still lies in the chunk it was read in, which would be kept with it. */
export function ownBytes(data: Uint8Array): Uint8Array {
  return data.byteLength === data.buffer.byteLength ? data : new Uint8Array(data);
}

/** Microseconds of an event's media time; null without one or past exact arithmetic. */
export function microsecondsOf(time: MediaTime | undefined): number | null {
  if (time === undefined) return null;
  const { position, sampleRateHz } = time;
  if (position.case === "ptsUs") return safe(Number(position.value));
  if (position.case !== "sampleIndex" || sampleRateHz === 0) return null;
  return safe(Math.round((Number(position.value) * 1_000_000) / sampleRateHz));
}

function safe(us: number): number | null {
  return Number.isSafeInteger(us) ? us : null;
}

export function isUint32(value: number): boolean {
  return isWhole(value, limits.UINT32_MAX);
}

export function isWhole(value: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= most;
}

export function outside(field: string, rule: string): { readonly ok: false; readonly error: WireError } {
  return refuseField(field, rule, "is out of the contract's bounds", `mend ${field}`);
}
