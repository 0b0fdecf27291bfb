import { invariant } from "@rspp/base/invariant";

/** Every bound of this room, units last. The bounds of single fields stand in the contracts. */
export const limits = {
  /** One event or frame in binary; larger ones are refused unread. */
  WIRE_BINARY_BYTES_MAX: 1_048_576,
  /** One event or frame as JSON, UTF-16 code units. */
  WIRE_JSON_CHARS_MAX: 2_097_152,
  /** Levels of a JSON document; the deepest legal event has far fewer. */
  WIRE_JSON_DEPTH_MAX: 32,
  /** Violations one error names; what is beyond is counted. */
  WIRE_VIOLATIONS_MAX: 16,
  /** A name from outside that is repeated in an error or an audit entry, characters. */
  WIRE_ECHO_CHARS_MAX: 64,
  /** Kernel facts of a signal that have no field of their own; they travel in an extension. */
  WIRE_SIGNAL_FACTS_MAX: 16,
  /** Canonical JSON of one kernel record. */
  WIRE_RECORD_BYTES_MAX: 4_194_304,
} as const;

// 262144 bytes of audio are 349528 characters of base64.
invariant(limits.WIRE_JSON_CHARS_MAX >= limits.WIRE_BINARY_BYTES_MAX, "what fits in binary fits as JSON");
invariant(limits.WIRE_BINARY_BYTES_MAX >= 2 * 262_144, "the largest audio event fits");
