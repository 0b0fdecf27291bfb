import { invariant } from "@rspp/base/invariant";
import { limits as protocol } from "@rspp/protocol/limits";

/** Every bound of export beside those of its machine in `libs/protocol`, units last. */
export const exportLimits = {
  /** A record with its typed body and its canonical form must fit one message of the API (4 MiB). */
  RECORD_BYTES_MAX: 3_145_728,
  /** Records of one request, so that neither end is long at one; and its size: a larger record travels alone. */
  BATCH_RECORDS: 64,
  REQUEST_BYTES_MAX: 1_048_576,
  /** Records made and not yet acknowledged, over all sessions: what is beyond stays in the spool. */
  CACHE_RECORDS_MAX: 8_192,
  CACHE_BYTES_MAX: 16_777_216,
  /** Records made, or passed over, in one turn of the event loop. */
  TURN_RECORDS_MAX: 16,
  TURN_PASSED_MAX: 64,
  /** Chains whose place is kept in memory while nothing of them waits. */
  CHAINS_MAX: 1_024,
  /** How often the lag is looked at. */
  LAG_EVERY_MS: 500,
  /** How often what was acknowledged is marked in the spool, and exported segments are freed. */
  MARK_EVERY_MS: 2_000,
  /** Past this age of the oldest record export has fallen behind, and marks that it caught up (F-154). */
  BEHIND_MS: 2_000,
  /** Below this age it has caught up; the replay service's gathering and writing alone stay below it. */
  CAUGHT_UP_MS: 1_000,
  RECONNECT_FIRST_MS: 50,
  RECONNECT_MAX_MS: 5_000,
} as const;

invariant(exportLimits.CACHE_RECORDS_MAX >= protocol.EXPORT_WINDOW_RECORDS, "the window is never short of records");
invariant(exportLimits.BATCH_RECORDS <= protocol.EXPORT_BATCH_RECORDS, "no request is larger than the machine's");
