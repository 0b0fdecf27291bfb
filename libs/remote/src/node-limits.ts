/** Bounds of external nodes, units last. */
export const nodeLimits = {
  /** Instances at one node host. */
  INSTANCES_MAX: 1_024,
  /** Events under way at one node host, over all instances. */
  EVENTS_MAX: 4_096,
  /** Events that wait for a place at the host, where it queues. */
  QUEUE_MAX: 256,
  EMISSIONS_PER_COMMAND_MAX: 4_096,
  EMITTED_BYTES_PER_COMMAND_MAX: 8_388_608,
  /** Handed to the transport and not yet taken; past it an event is refused with `overload`. */
  UNWRITTEN_BYTES_MAX: 2_097_152,
  DESCRIBE_TIMEOUT_MS: 5_000,
  /** Below the streams a server takes on one connection. */
  STREAMS_PER_CONNECTION: 192,
  /** After the last word of an instance, before its stream is cut. */
  LINGER_MS: 1_000,
} as const;
