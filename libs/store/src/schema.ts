import { sql } from "drizzle-orm";
import {
  bigint,
  bigserial,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  pgSchema,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
} from "drizzle-orm/pg-core";
import type { Placement, SessionDecision } from "./session-store.ts";

// The one schema, of every service that keeps something. Instants are wall milliseconds (column names say so), epochs
// are safe integers. What must never change is guarded by triggers in the migrations, not by good will.

const bytes = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => "bytea" });
const whole = (name: string) => bigint(name, { mode: "number" });

export const rspp = pgSchema("rspp");

/** Published pipelines, profiles, policies and modules: immutable but for `deprecated` (F-015, F-092). */
export const publishedVersions = rspp.table(
  "published_versions",
  {
    tenantId: text("tenant_id").notNull(),
    kind: text("kind").notNull(),
    name: text("name").notNull(),
    version: integer("version").notNull(),
    /** SHA-256 of `content`. */
    digest: bytes("digest").notNull(),
    author: text("author").notNull(),
    publishedWallMs: whole("published_wall_ms").notNull(),
    note: text("note").notNull(),
    deprecated: boolean("deprecated").notNull().default(false),
    /** Normalised bytes. */
    content: bytes("content").notNull(),
    /** As the author wrote it, comments included. */
    source: bytes("source").notNull(),
    sourceFormat: text("source_format").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.kind, t.name, t.version] }),
    check("published_versions_version", sql`${t.version} >= 1`),
    check("published_versions_digest", sql`octet_length(${t.digest}) = 32`),
  ],
);

/** Which version is in force; 0: withdrawn (F-100, F-102). A change is told on `rspp_active_versions`. */
export const activeVersions = rspp.table(
  "active_versions",
  {
    tenantId: text("tenant_id").notNull(),
    kind: text("kind").notNull(),
    name: text("name").notNull(),
    version: integer("version").notNull(),
    changedWallMs: whole("changed_wall_ms").notNull(),
    changedBy: text("changed_by").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.kind, t.name] })],
);

/** Runtimes, adapters and gateways as they last told (F-159). */
export const instances = rspp.table("instances", {
  instanceId: text("instance_id").primaryKey(),
  role: text("role").notNull(),
  address: text("address").notNull(),
  region: text("region").notNull(),
  build: text("build").notNull(),
  capacitySessions: integer("capacity_sessions").notNull(),
  sessions: integer("sessions").notNull(),
  draining: boolean("draining").notNull(),
  ready: boolean("ready").notNull(),
  /** Transport to address, where clients connect. */
  endpoints: jsonb("endpoints").$type<Record<string, string>>().notNull(),
  reportedWallMs: whole("reported_wall_ms").notNull(),
  /** Somebody lost it: new sessions go elsewhere first until then. */
  suspectUntilWallMs: whole("suspect_until_wall_ms").notNull().default(0),
});

/** Instances that take no new sessions because somebody asked, whatever they report. */
export const instanceDrains = rspp.table("instance_drains", {
  instanceId: text("instance_id").primaryKey(),
  /** 1 sessions finish, 2 they move. */
  mode: smallint("mode").notNull(),
  deadlineWallMs: whole("deadline_wall_ms").notNull(),
  reason: text("reason").notNull(),
  askedBy: text("asked_by").notNull(),
  askedWallMs: whole("asked_wall_ms").notNull(),
});

/** A session from its route on: who may open it, where it runs, what its runtime last told. */
export const sessions = rspp.table(
  "sessions",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    requestKey: text("request_key").notNull(),
    requestDigest: text("request_digest").notNull(),
    pipelineName: text("pipeline_name").notNull(),
    pipelineVersion: integer("pipeline_version").notNull(),
    pipelineDigest: bytes("pipeline_digest").notNull(),
    transport: text("transport").notNull(),
    instanceId: text("instance_id").notNull(),
    endpointUrl: text("endpoint_url").notNull(),
    region: text("region").notNull(),
    tokenId: text("token_id").notNull(),
    routedWallMs: whole("routed_wall_ms").notNull(),
    routeExpiresWallMs: whole("route_expires_wall_ms").notNull(),
    /** 1 connecting, 2 active, 3 draining, 4 ended (kernel.md §2). */
    state: smallint("state").notNull(),
    reconnecting: boolean("reconnecting").notNull().default(false),
    degraded: boolean("degraded").notNull().default(false),
    authorityEpoch: whole("authority_epoch").notNull().default(0),
    startedWallMs: whole("started_wall_ms").notNull().default(0),
    turns: integer("turns").notNull().default(0),
    openTurnNumber: integer("open_turn_number").notNull().default(0),
    recordingLevel: smallint("recording_level").notNull().default(0),
    /** 0 until its runtime told for the first time. */
    asOfWallMs: whole("as_of_wall_ms").notNull().default(0),
    /** Why it got its version, and what was in force. */
    decision: jsonb("decision").$type<SessionDecision>().notNull().default({}),
    /** Past a soft quota of its tenant. */
    admittedDegraded: boolean("admitted_degraded").notNull().default(false),
    /** Counts its runtimes. */
    placementNumber: integer("placement_number").notNull().default(1),
    placedWallMs: whole("placed_wall_ms").notNull().default(0),
    predecessorInstanceId: text("predecessor_instance_id").notNull().default(""),
    /** It never goes back to one of them. */
    lostInstances: text("lost_instances").array().notNull().default([]),
    /** 0: nobody asked for a move. */
    migrateWantedWallMs: whole("migrate_wanted_wall_ms").notNull().default(0),
    /** Since when its runtime is gone; 0 it is not. */
    lostSinceWallMs: whole("lost_since_wall_ms").notNull().default(0),
    endedWallMs: whole("ended_wall_ms").notNull().default(0),
    /** Empty: its runtime told; `unopened`, `lost`: concluded here, and taken back when its runtime tells otherwise. */
    endReason: text("end_reason").notNull().default(""),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.sessionId] }),
    uniqueIndex("sessions_request_key").on(t.tenantId, t.requestKey),
    index("sessions_newest").on(t.tenantId, t.routedWallMs, t.sessionId),
    index("sessions_instance").on(t.instanceId, t.state),
    index("sessions_live").on(t.instanceId, t.endpointUrl).where(sql`${t.state} <> 4`),
    index("sessions_live_tenant").on(t.tenantId).where(sql`${t.state} <> 4`),
    index("sessions_ended").on(t.endedWallMs).where(sql`${t.state} = 4`),
  ],
);

/** Answers of moves by their key. */
export const sessionMoves = rspp.table(
  "session_moves",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    requestKey: text("request_key").notNull(),
    requestDigest: text("request_digest").notNull(),
    placement: jsonb("placement").$type<Placement>().notNull(),
    movedWallMs: whole("moved_wall_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.sessionId, t.requestKey] })],
);

/** Token buckets, in thousandths, exact over replicas (F-098). */
export const rateBuckets = rspp.table(
  "rate_buckets",
  {
    tenantId: text("tenant_id").notNull(),
    bucket: text("bucket").notNull(),
    tokensMilli: whole("tokens_milli").notNull(),
    filledWallMs: whole("filled_wall_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.bucket] })],
);

/** One row: the lease store itself, the order of its grants and its incarnation (kernel.md §7). */
export const leaseStore = rspp.table("lease_store", {
  id: smallint("id").primaryKey(),
  incarnation: integer("incarnation").notNull(),
  /** Written for builds that counted here; epochs come from the sequence `lease_epochs`. */
  lastEpoch: whole("last_epoch").notNull(),
  lostRunOutWallMs: whole("lost_run_out_wall_ms").notNull(),
  sessionCount: integer("session_count").notNull(),
  changeSeq: whole("change_seq").notNull(),
  /** Where the sequence of epochs stood when this incarnation began. */
  epochsBefore: whole("epochs_before").notNull().default(0),
  /** Which database this was: a restored or copied one differs, and comes up under a higher incarnation. */
  origin: text("origin").notNull(),
});

export const leases = rspp.table(
  "leases",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    epoch: whole("epoch").notNull(),
    /** First epoch of the holder's unbroken hold. */
    heldSinceEpoch: whole("held_since_epoch").notNull(),
    /** Null after a revocation: a floor nobody stands on. */
    holder: text("holder"),
    receivers: text("receivers").array().notNull(),
    termMs: integer("term_ms").notNull(),
    lastSequence: whole("last_sequence"),
    signature: text("signature").notNull(),
    expiresWallMs: whole("expires_wall_ms").notNull(),
    oldRunsOutWallMs: whole("old_runs_out_wall_ms").notNull(),
    revoked: boolean("revoked").notNull(),
    /** 0 while the session lives; ended rows stay a while for watchers, and their epochs for ever in the counter. */
    endedWallMs: whole("ended_wall_ms").notNull().default(0),
    issuedWallMs: whole("issued_wall_ms").notNull(),
    changeSeq: whole("change_seq").notNull(),
    requestKey: text("request_key").notNull().default(""),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.sessionId] }),
    uniqueIndex("leases_change_seq").on(t.changeSeq),
    uniqueIndex("leases_epoch").on(t.epoch),
    index("leases_holder").on(t.holder),
    index("leases_receivers").using("gin", t.receivers),
  ],
);

/** Requests that issued or confirmed a lease, so that a repeat is answered and not carried out again (F-158). */
export const leaseRequests = rspp.table(
  "lease_requests",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    requestKey: text("request_key").notNull(),
    kind: text("kind").notNull(),
    holder: text("holder").notNull(),
    /** What was asked under: the epoch believed or held; 0 none. */
    askedEpoch: whole("asked_epoch").notNull(),
    /** What was answered. */
    epoch: whole("epoch").notNull(),
    atWallMs: whole("at_wall_ms").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.sessionId, t.requestKey] }),
    index("lease_requests_oldest").on(t.atWallMs),
  ],
);

/** What each receiver said it enforces. */
export const leaseFloors = rspp.table(
  "lease_floors",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    receiverId: text("receiver_id").notNull(),
    floorEpoch: whole("floor_epoch").notNull(),
    acknowledgedWallMs: whole("acknowledged_wall_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.sessionId, t.receiverId] })],
);

export const sessionStates = rspp.table(
  "session_states",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    epoch: whole("epoch").notNull(),
    version: whole("version").notNull(),
    writtenWallMs: whole("written_wall_ms").notNull(),
    requestKey: text("request_key").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.sessionId] })],
);

export const sessionStateEntries = rspp.table(
  "session_state_entries",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    key: text("key").notNull(),
    value: bytes("value").notNull(),
    schema: text("schema").notNull(),
  },
  (t) => [primaryKey({ columns: [t.tenantId, t.sessionId, t.key] })],
);

/** Append-only. */
export const audit = rspp.table(
  "audit",
  {
    id: bigserial("id", { mode: "number" }).primaryKey(),
    tenantId: text("tenant_id").notNull(),
    atWallMs: whole("at_wall_ms").notNull(),
    actor: text("actor").notNull(),
    action: text("action").notNull(),
    subject: text("subject").notNull(),
    detail: jsonb("detail").$type<Record<string, unknown>>().notNull(),
    /** Digest of the row before; set by a trigger, as `id` and `digest` are, whoever writes (F-170). */
    previous: bytes("previous").notNull().default(sql`'\\x'`),
    digest: bytes("digest").notNull().default(sql`'\\x'`),
  },
  (t) => [index("audit_tenant").on(t.tenantId, t.id)],
);

/** One row: where the chain ends. Its lock orders writers, so the log is the last thing a transaction writes. */
export const auditHead = rspp.table("audit_head", {
  one: smallint("one").primaryKey().default(1),
  lastId: whole("last_id").notNull(),
  lastDigest: bytes("last_digest").notNull(),
});

/** Public halves of keys that sign (F-169). */
export const signingKeys = rspp.table(
  "signing_keys",
  {
    /** `session-token` or `lease-grant`. */
    purpose: text("purpose").notNull(),
    keyId: text("key_id").notNull(),
    publicKey: bytes("public_key").notNull(),
    createdWallMs: whole("created_wall_ms").notNull(),
    seenWallMs: whole("seen_wall_ms").notNull(),
    /** What it signed ends then at the latest. */
    usedUntilWallMs: whole("used_until_wall_ms").notNull().default(0),
    /** 0: it signs. */
    notAfterWallMs: whole("not_after_wall_ms").notNull().default(0),
  },
  (t) => [primaryKey({ columns: [t.purpose, t.keyId] })],
);

/** Tokens of people and tools, without the tokens (F-115). */
export const accessTokens = rspp.table(
  "access_tokens",
  {
    tokenId: text("token_id").primaryKey(),
    tenantId: text("tenant_id").notNull(),
    subject: text("subject").notNull(),
    /** Number of `rspp.common.v1.Role`. */
    role: smallint("role").notNull(),
    issuedWallMs: whole("issued_wall_ms").notNull(),
    expiresWallMs: whole("expires_wall_ms").notNull(),
    revokedWallMs: whole("revoked_wall_ms").notNull().default(0),
    createdBy: text("created_by").notNull(),
  },
  (t) => [index("access_tokens_newest").on(t.tenantId, t.issuedWallMs, t.tokenId)],
);

/** Where the segments of a timeline lie in the object store. */
export const timelineSegments = rspp.table(
  "timeline_segments",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    epoch: whole("epoch").notNull(),
    firstSequence: whole("first_sequence").notNull(),
    lastSequence: whole("last_sequence").notNull(),
    objectKey: text("object_key").notNull(),
    byteOffset: whole("byte_offset").notNull().default(0),
    bytes: whole("bytes").notNull(),
    sha256: bytes("sha256").notNull(),
    /** Chain digest of the last record (kernel.md §11). */
    headDigest: bytes("head_digest").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.sessionId, t.epoch, t.firstSequence] }),
    index("timeline_segments_object").on(t.objectKey),
  ],
);

/** Objects given up: no segment may name one of them any longer. */
export const timelineSweptObjects = rspp.table("timeline_swept_objects", {
  objectKey: text("object_key").primaryKey(),
  sweptAt: timestamp("swept_at", { withTimezone: true }).notNull().defaultNow(),
});

export const timelines = rspp.table(
  "timelines",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    pipelineName: text("pipeline_name").notNull(),
    pipelineVersion: integer("pipeline_version").notNull(),
    startedWallMs: whole("started_wall_ms").notNull(),
    lastWallMs: whole("last_wall_ms").notNull(),
    records: whole("records").notNull(),
    bytes: whole("bytes").notNull(),
    turns: integer("turns").notNull(),
    recordingLevel: smallint("recording_level").notNull(),
    /** The session's end is among the records. */
    ended: boolean("ended").notNull().default(false),
    /** Declared losses. */
    losses: integer("losses").notNull().default(0),
    /** Nothing more is expected: its summary is made, and its end was told. */
    summedUp: boolean("summed_up").notNull().default(false),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.sessionId] }),
    index("timelines_newest").on(t.tenantId, t.startedWallMs, t.sessionId),
    index("timelines_open").on(t.lastWallMs).where(sql`not ${t.summedUp}`),
  ],
);

/** What became of sessions that have ended (F-075). */
export const sessionSummaries = rspp.table(
  "session_summaries",
  {
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    endedWallMs: whole("ended_wall_ms").notNull(),
    pipelineName: text("pipeline_name").notNull(),
    summary: jsonb("summary").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.tenantId, t.sessionId] }),
    index("session_summaries_newest").on(t.tenantId, t.endedWallMs, t.sessionId),
  ],
);

/** Webhooks that are to be called, or were. */
export const webhookOutbox = rspp.table(
  "webhook_outbox",
  {
    id: text("id").primaryKey(),
    tenantId: text("tenant_id").notNull(),
    sessionId: text("session_id").notNull(),
    event: text("event").notNull(),
    url: text("url").notNull(),
    /** Reference, and whose configuration names it. */
    secret: text("secret").notNull(),
    secretTenant: text("secret_tenant").notNull(),
    /** What is signed: the same at each attempt. */
    body: text("body").notNull(),
    createdWallMs: whole("created_wall_ms").notNull(),
    nextWallMs: whole("next_wall_ms").notNull(),
    attempts: integer("attempts").notNull().default(0),
    /** 0 waits, 1 delivered, 2 dead. */
    state: smallint("state").notNull().default(0),
    outcome: text("outcome").notNull().default(""),
    finishedWallMs: whole("finished_wall_ms").notNull().default(0),
  },
  (t) => [
    index("webhook_outbox_due").on(t.nextWallMs).where(sql`${t.state} = 0`),
    index("webhook_outbox_tenant").on(t.tenantId).where(sql`${t.state} = 0`),
    index("webhook_outbox_finished").on(t.finishedWallMs).where(sql`${t.state} <> 0`),
  ],
);

/** The newest snapshot of each kind; a trigger keeps versions from going back. */
export const snapshots = rspp.table("snapshots", {
  kind: text("kind").primaryKey(),
  /** 0 before the first. */
  version: whole("version").notNull(),
  /** SHA-256 of `content`. */
  digest: bytes("digest").notNull(),
  content: bytes("content").notNull(),
  takenWallMs: whole("taken_wall_ms").notNull(),
  /** Life of the database that gave the number; 0 not known. */
  incarnation: integer("incarnation").notNull().default(0),
});

/** How providers are, as each gateway last told (F-060). */
export const providerReports = rspp.table(
  "provider_reports",
  {
    instanceId: text("instance_id").notNull(),
    provider: text("provider").notNull(),
    /** 1 closed, 2 open, 3 half open. */
    circuit: smallint("circuit").notNull(),
    errorPermille: integer("error_permille").notNull(),
    p95FirstOutputMs: integer("p95_first_output_ms").notNull(),
    /** Null: not known. */
    priceMicros: whole("price_micros"),
    available: boolean("available").notNull(),
    reportedWallMs: whole("reported_wall_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.instanceId, t.provider] }), index("provider_reports_told").on(t.reportedWallMs)],
);
