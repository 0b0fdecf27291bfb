/** Every field of a tenant's configuration: quotas, rates, where its sessions may run, how long things are kept. */
import * as limits from "../limits.ts";
import { flag, list, map, may, must, oneOf, text, whole } from "../schema.ts";
import { description } from "../spec-schema.ts";

/** The first line of every tenant's configuration. */
export const TENANT_SCHEMA = "rspp/tenant-config/v1";

/** What webhooks may be told of. */
export const WEBHOOK_EVENTS = ["session.ended"] as const;

const count = whole(1, 1_000_000);
const over = oneOf("reject", "throttle", "degrade");
const days = whole(0, 36_500);

const webhookUrl = text(2_048, {
  pattern: /^(?:https:\/\/[^\s/?#@]+|http:\/\/(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?)(?:[/?][^\s#]*)?$/,
  form: "an https address without user, password and fragment (http for loopback alone)",
});
const secretReference = text(256, {
  pattern: /^(?:env:[A-Z][A-Z0-9_]{0,127}|file:\/[\w./-]{1,250}|mount:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127})$/,
  hidden: true,
  form: "a reference: env:NAME, file:/path or mount:NAME",
});
const level = oneOf("L0", "L1", "L2");
const purpose = text(64, { pattern: /^[a-z][a-z0-9_-]*$/, form: "lower-case letters, digits, _ and -" });

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
  /** Told of the end of sessions. */
  webhooks: may(
    list(
      "webhooks",
      map("a webhook", {
        url: must(webhookUrl),
        /** Whoever runs the replay service says which references a tenant may name (`webhook_secrets`). */
        secret: must(secretReference),
        events: must(list("events", oneOf(...WEBHOOK_EVENTS), 1, WEBHOOK_EVENTS.length)),
      }),
      0,
      limits.TENANT_WEBHOOKS_MAX,
    ),
  ),
  /** Who may read what of the tenant's timelines. */
  timeline_access: may(
    map("the access to timelines", {
      /** Whoever reads says what for. */
      purpose_required: may(flag),
      /** Only these; default any. */
      purposes: may(list("purposes", purpose, 1, limits.TENANT_PURPOSES_MAX)),
      /** Highest level that each role reads; default L2. */
      viewer: may(level),
      operator: may(level),
      admin: may(level),
    }),
  ),
});
