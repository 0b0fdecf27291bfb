/** The binary encoding of an envelope (F-030): bounded, and never throwing on what comes from outside. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { err, ok, type Result } from "@rspp/base/result";
import { type Envelope, EnvelopeSchema } from "@rspp/gen/rspp/event/v1/event_pb";
import { limits } from "./limits.ts";
import { type WireError, wireError } from "./wire-error.ts";

/** Bytes of a valid envelope; an envelope past the size bound is refused here rather than by its receiver. */
export function envelopeToBinary(message: Envelope): Result<Uint8Array, WireError> {
  const bytes = toBinary(EnvelopeSchema, message);
  return bytes.length > limits.WIRE_BINARY_BYTES_MAX ? tooLarge(bytes.length) : ok(bytes);
}

/** Reads the message and no more: bounds, version and type are checked by `fromEnvelope`. */
export function envelopeFromBinary(bytes: Uint8Array): Result<Envelope, WireError> {
  if (bytes.length > limits.WIRE_BINARY_BYTES_MAX) return tooLarge(bytes.length);
  try {
    return ok(fromBinary(EnvelopeSchema, bytes));
  } catch {
    // The cause names offsets of a garbled message only; it may quote payload, so it stays here.
    return err(wireError("malformed_frame", { encoding: "binary", bytes: String(bytes.length) }));
  }
}

function tooLarge(bytes: number): { readonly ok: false; readonly error: WireError } {
  const metadata = { bytes: String(bytes), bytes_max: String(limits.WIRE_BINARY_BYTES_MAX) };
  return err(wireError("message_too_large", metadata));
}
