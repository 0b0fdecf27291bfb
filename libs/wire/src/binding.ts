/**
 * The short form (architecture.md, decision 7): the constant fields of a session are told once and replaced by an integer,
 * and an event carries only what varies. Expanded with its binding it is a full envelope again.
 */
import { create } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { Scope } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type AudioFormat as AudioFormatMessage, AudioSchema } from "@rspp/gen/rspp/event/v1/audio_pb";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { type MediaTime, MediaTimeSchema } from "@rspp/gen/rspp/event/v1/media_time_pb";
import {
  type BindSession,
  BindSessionSchema,
  type LinkEvent,
  LinkEventSchema,
} from "@rspp/gen/rspp/runtime/v1/link_pb";
import { detailsFor, expandDetails } from "./binding-details.ts";
import { checkSchemaVersion, SCHEMA_VERSION_MAX } from "./envelope.ts";
import { handlingNames, payloadClassNames } from "./names.ts";
import { isCount, safeNumber } from "./numbers.ts";
import { formatFromWire, formatToWire } from "./payload.ts";
import { validate } from "./validate.ts";
import { refuseField, type WireError, wireError } from "./wire-error.ts";
import { PAYLOAD_CLASS, type SessionConstants, turnIdOf } from "./wire-event.ts";

/** Which end of a link wrote an event; it decides the prefix of event ids and whether sequences are the transport's. */
export type LinkSender = "adapter" | "runtime";

/** What a `session_ref` stands for. */
export interface Binding {
  readonly ref: number;
  readonly constants: SessionConstants;
  /** Wall time that `elapsed_us` counts from, milliseconds since 1970 UTC. */
  readonly baseWallMs: number;
  readonly schemaVersion: number;
  /** The bound audio format in the contract's form; compared, never changed. */
  readonly format: AudioFormatMessage;
  readonly epoch: bigint;
}

/** Where the link put an event: its place in the lane and the lane's totals after it. */
export interface LinkPlace {
  sequence: number;
  sentAudioUs: number;
  sentBytes: number;
}

const eventPrefix: Readonly<Record<LinkSender, string>> = { adapter: "a-", runtime: "r-" };

/** The id of the sender's `number`-th event; what the short form carries as a number. */
export function eventIdOf(sender: LinkSender, number: number): string {
  return `${eventPrefix[sender]}${number}`;
}

/** A binding for `ref`; refuses an epoch, base or format that the contract does not allow. */
export function bindingCreate(
  ref: number,
  constants: SessionConstants,
  baseWallMs: number,
): Result<Binding, WireError> {
  const message = bindToWire(ref, constants, baseWallMs, null);
  return message.ok ? bindingFromWire(message.value) : message;
}

/** The bind message of the link. `supersedes` is the earlier ref of the session at a lease rotation. */
export function bindToWire(
  ref: number,
  constants: SessionConstants,
  baseWallMs: number,
  supersedes: number | null,
): Result<BindSession, WireError> {
  if (!isCount(constants.epoch) || !isCount(baseWallMs)) {
    return refuseField("binding", "uint64.safe", "epoch and base are whole numbers from 0", "mend the constants");
  }
  const { codec, sampleRateHz: rateHz, channels } = constants;
  const format = formatToWire({ codec, rateHz, channels });
  if (!format.ok) return format;
  const message = create(BindSessionSchema, {
    sessionRef: ref,
    supersedesSessionRef: supersedes ?? 0,
    binding: {
      session: { tenantId: constants.tenant, sessionId: constants.session },
      pipelineVersion: constants.pipelineVersion,
      authorityEpoch: BigInt(constants.epoch),
      format: format.value,
      baseWallMs: BigInt(baseWallMs),
      schemaVersion: SCHEMA_VERSION_MAX,
    },
  });
  return validate(BindSessionSchema, message);
}

/** Reads a bind message: bounds, then the schema version of everything under it (F-021). */
export function bindingFromWire(message: BindSession): Result<Binding, WireError> {
  const valid = validate(BindSessionSchema, message);
  if (!valid.ok) return valid;
  const bound = message.binding;
  const baseWallMs = safeNumber(bound?.baseWallMs ?? 0n);
  if (bound?.session === undefined || bound.format === undefined || baseWallMs === null) {
    return refuseField("binding.base_wall_ms", "uint64.safe", "is past 2^53 - 1", "send a wall time in milliseconds");
  }
  const schemaVersion = bound.schemaVersion === 0 ? 1 : bound.schemaVersion;
  const version = checkSchemaVersion(schemaVersion);
  if (version !== null) return err(version);
  const { codec, rateHz, channels } = formatFromWire(bound.format);
  return ok({
    ref: message.sessionRef,
    constants: {
      tenant: bound.session.tenantId,
      session: bound.session.sessionId,
      pipelineVersion: bound.pipelineVersion,
      epoch: Number(bound.authorityEpoch),
      codec,
      sampleRateHz: rateHz,
      channels,
    },
    baseWallMs,
    schemaVersion,
    format: bound.format,
    epoch: bound.authorityEpoch,
  });
}

/**
 * The short form of a valid envelope. Refuses an envelope of another session, epoch or version, and one from the adapter
 * whose transport_sequence is neither 0 nor its place in the lane.
 */
export function shorten(
  binding: Binding,
  sender: LinkSender,
  envelope: Envelope,
  place: LinkPlace,
): Result<LinkEvent, WireError> {
  const foreign = foreignField(binding, sender, envelope, place);
  if (foreign !== null) {
    return refuseField(foreign, "binding.constant", "is not what the session_ref stands for", "bind a new session_ref");
  }
  const details = detailsFor(binding, envelope, eventPrefix[sender]);
  const message = create(LinkEventSchema, {
    sessionRef: binding.ref,
    lane: envelope.lane,
    sequence: place.sequence,
    sentAudioUs: place.sentAudioUs,
    sentBytes: place.sentBytes,
    turnNumber: envelope.turnNumber,
    fenceGeneration: envelope.fenceGeneration,
    elapsedUs: details.elapsedUs,
    eventNumber: details.eventNumber,
  });
  if (details.mediaSample !== null) message.mediaSample = details.mediaSample;
  if (details.rare !== null) message.details = details.rare;
  setPayload(message, envelope, binding);
  return ok(message);
}

function foreignField(binding: Binding, sender: LinkSender, e: Envelope, place: LinkPlace): string | null {
  const c = binding.constants;
  if (e.schemaVersion !== binding.schemaVersion) return "schema_version";
  if (e.tenantId !== c.tenant) return "tenant_id";
  if (e.sessionId !== c.session) return "session_id";
  if (e.pipelineVersion !== c.pipelineVersion) return "pipeline_version";
  if (e.authorityEpoch !== binding.epoch) return "authority_epoch";
  const expected = sender === "adapter" ? BigInt(place.sequence) : 0n;
  return e.transportSequence === 0n || e.transportSequence === expected ? null : "transport_sequence";
}

function setPayload(message: LinkEvent, { payload }: Envelope, binding: Binding): void {
  switch (payload.case) {
    case "audio": {
      const { format, data, durationUs, end, segment } = payload.value;
      if (segment !== undefined || !sameFormat(format, binding.format)) {
        message.payload = { case: "fullAudio", value: payload.value };
        return;
      }
      message.audio = data;
      message.durationUs = durationUs;
      message.end = end;
      return;
    }
    case undefined:
      return;
    default:
      message.payload = payload;
  }
}

function sameFormat(a: AudioFormatMessage | undefined, b: AudioFormatMessage): boolean {
  return a?.codec === b.codec && a.sampleRateHz === b.sampleRateHz && a.channels === b.channels;
}

/**
 * The full envelope of a short form. Its bounds are those of the short form, checked by `validate` or, on the audio path,
 * by {@link checkAudioEvent}; refuses a skip, which stands for no event.
 */
export function expand(binding: Binding, sender: LinkSender, event: LinkEvent): Result<Envelope, WireError> {
  if (event.sessionRef !== binding.ref) return unknownRef(event.sessionRef, "is bound to another session");
  if (event.skipToSequence !== 0) {
    return refuseField("skip_to_sequence", "link.skip", "a declared drop carries no event", "count it as dropped");
  }
  if (!(event.elapsedUs >= 0 && event.elapsedUs <= elapsedUsMax)) {
    return refuseField(
      "elapsed_us",
      "double.lte",
      "is no time within a century",
      "bind with a newer base, or send wall_ms",
    );
  }
  const payload = payloadOf(event, binding);
  const turn = event.turnNumber;
  const message = create(EnvelopeSchema, {
    schemaVersion: binding.schemaVersion,
    lane: event.lane,
    scope: turn === 0 ? Scope.SESSION : Scope.TURN,
    transportSequence: sender === "adapter" ? BigInt(event.sequence) : 0n,
    authorityEpoch: binding.epoch,
    turnNumber: turn,
    fenceGeneration: event.fenceGeneration,
    payload,
    tenantId: binding.constants.tenant,
    sessionId: binding.constants.session,
    turnId: turnIdOf(turn),
    pipelineVersion: binding.constants.pipelineVersion,
    eventId: event.eventNumber === 0 ? "" : eventIdOf(sender, event.eventNumber),
    wallMs: BigInt(binding.baseWallMs + Math.floor(event.elapsedUs / 1000)),
    payloadClass: classOf(payload.case),
    payloadHandling: allow,
  });
  if (event.mediaSample !== undefined) message.mediaTime = samples(event.mediaSample, binding);
  if (event.details !== undefined) expandDetails(message, event.details);
  return ok(message);
}

/** A century of microseconds; beyond it the sum with the base would leave exact arithmetic. */
const elapsedUsMax = 3_155_760_000_000_000;

const allow = handlingNames.number("allow") ?? 0;
const classNumbers = new Map(
  Object.entries(PAYLOAD_CLASS).map(([kind, name]) => [kind, payloadClassNames.number(name) ?? 0]),
);

function classOf(kind: string | undefined): number {
  return classNumbers.get(kind ?? "") ?? 0;
}

function samples(index: number, binding: Binding): MediaTime {
  return create(MediaTimeSchema, {
    position: { case: "sampleIndex", value: BigInt(index) },
    sampleRateHz: binding.constants.sampleRateHz,
  });
}

function payloadOf(event: LinkEvent, binding: Binding): Envelope["payload"] {
  const { payload } = event;
  if (payload.case === "fullAudio") return { case: "audio", value: payload.value };
  if (payload.case !== undefined) return payload;
  const { audio: data, durationUs, end } = event;
  return { case: "audio", value: create(AudioSchema, { format: binding.format, data, durationUs, end }) };
}

/**
 * Checks a short form and expands it to a valid envelope. Bound audio without rare fields takes a short way: the bounds of
 * its dozen numbers are compared here, as the contract has them; the general rules cost several times the decoding.
 */
export function receiveEvent(binding: Binding, sender: LinkSender, event: LinkEvent): Result<Envelope, WireError> {
  if (isPlainAudio(event)) {
    const problem = checkAudioEvent(event);
    return problem === null ? expand(binding, sender, event) : err(problem);
  }
  const valid = validate(LinkEventSchema, event);
  if (!valid.ok) return valid;
  const expanded = expand(binding, sender, event);
  return expanded.ok ? validate(EnvelopeSchema, expanded.value) : expanded;
}

function isPlainAudio(event: LinkEvent): boolean {
  return event.payload.case === undefined && event.details === undefined && event.skipToSequence === 0;
}

function checkAudioEvent(e: LinkEvent): WireError | null {
  const bad = (field: string, rule: string, message: string): WireError =>
    refuseField(field, rule, message, `mend ${field}`).error;
  if (e.sessionRef < 1) return bad("session_ref", "uint32.gte", "is at least 1");
  if (e.sequence < 1) return bad("sequence", "uint32.gte", "is at least 1");
  if (e.lane !== 2) return bad("lane", "envelope.control_lane", "audio travels in the data lane");
  if (e.audio.length > 262_144) return bad("audio", "bytes.max_len", "has at most 262144 bytes");
  if (e.durationUs > 10_000_000) return bad("duration_us", "uint32.lte", "is at most 10000000");
  if (e.eventNumber === 0) return bad("event_number", "required", "an event has an id");
  if (!(e.elapsedUs >= 0 && e.elapsedUs <= elapsedUsMax)) return bad("elapsed_us", "double.gte", "is at least 0");
  if (!(e.sentAudioUs >= 0 && e.sentAudioUs <= Number.MAX_VALUE))
    return bad("sent_audio_us", "double.gte", "is a number from 0");
  if (!(e.sentBytes >= 0 && e.sentBytes <= Number.MAX_VALUE))
    return bad("sent_bytes", "double.gte", "is a number from 0");
  return e.skipReason === 0 ? null : bad("skip_reason", "link.skip", "belongs to a declared drop only");
}

function unknownRef(ref: number, problem: string): { readonly ok: false; readonly error: WireError } {
  return err(wireError("session_ref_unknown", { session_ref: String(ref), problem }));
}
