/** Every field of a tenant's configuration: quotas, rates, where its sessions may run, how long things are kept. */
import * as limits from "../limits.ts";
import { list, map, may, must, oneOf, text, whole } from "../schema.ts";
import { description } from "../spec-schema.ts";

/** The first line of every tenant's configuration. */
export const TENANT_SCHEMA = "rspp/tenant-config/v1";

const count = whole(1, 1_000_000);
const over = oneOf("reject", "throttle", "degrade");
const days = whole(0, 36_500);

export const tenantSchema = map("a tenant's configuration", {
  schema: must(oneOf(TENANT_SCHEMA)),
  description: may(description),
  sessions: may(
    map("the limits of sessions", {
      concurrent_max: may(count),
      /** With `degrade`, past concurrent_max up to this; else nothing. Default twice concurrent_max. */
      concurrent_hard_max: may(count),
      on_concurrent: may(over),
      starts_per_minute: may(count),
      /** Starts at once after a pause; default a tenth of starts_per_minute. */
      start_burst: may(count),
      on_starts: may(over),
    }),
  ),
  turns: may(
    map("the limits of turns", {
      /** Of all sessions on one runtime. */
      per_minute: may(count),
      per_session_per_minute: may(count),
      burst: may(count),
      on_exceeded: may(over),
      throttle_max_ms: may(whole(1, 60_000)),
    }),
  ),
  placement: may(
    map("the placement", {
      /** Sessions run in these and nowhere else. */
      regions: may(list("regions", text(64), 1, limits.TENANT_REGIONS_MAX)),
    }),
  ),
  retention: may(map("the retention", { recordings_days: may(days), sessions_days: may(days) })),
});
