CREATE TABLE "rspp"."audit" (
  "id" bigserial PRIMARY KEY NOT NULL,
  "tenant_id" text NOT NULL,
  "at_wall_ms" bigint NOT NULL,
  "actor" text NOT NULL,
  "action" text NOT NULL,
  "subject" text NOT NULL,
  "detail" jsonb NOT NULL
);
CREATE TABLE "rspp"."instances" (
  "instance_id" text PRIMARY KEY NOT NULL,
  "role" text NOT NULL,
  "address" text NOT NULL,
  "region" text NOT NULL,
  "build" text NOT NULL,
  "capacity_sessions" integer NOT NULL,
  "sessions" integer NOT NULL,
  "draining" boolean NOT NULL,
  "ready" boolean NOT NULL,
  "endpoints" jsonb NOT NULL,
  "reported_wall_ms" bigint NOT NULL
);
CREATE TABLE "rspp"."lease_floors" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "receiver_id" text NOT NULL,
  "floor_epoch" bigint NOT NULL,
  "acknowledged_wall_ms" bigint NOT NULL,
  CONSTRAINT "lease_floors_tenant_id_session_id_receiver_id_pk" PRIMARY KEY("tenant_id","session_id","receiver_id")
);
CREATE TABLE "rspp"."lease_store" (
  "id" smallint PRIMARY KEY NOT NULL,
  "incarnation" integer NOT NULL,
  "last_epoch" bigint NOT NULL,
  "lost_run_out_wall_ms" bigint NOT NULL,
  "session_count" integer NOT NULL,
  "change_seq" bigint NOT NULL,
  "origin" text NOT NULL
);
CREATE TABLE "rspp"."leases" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "epoch" bigint NOT NULL,
  "holder" text,
  "receivers" text[] NOT NULL,
  "term_ms" integer NOT NULL,
  "last_sequence" bigint,
  "signature" text NOT NULL,
  "expires_wall_ms" bigint NOT NULL,
  "old_runs_out_wall_ms" bigint NOT NULL,
  "revoked" boolean NOT NULL,
  "ended_wall_ms" bigint DEFAULT 0 NOT NULL,
  "issued_wall_ms" bigint NOT NULL,
  "change_seq" bigint NOT NULL,
  "request_key" text DEFAULT '' NOT NULL,
  CONSTRAINT "leases_tenant_id_session_id_pk" PRIMARY KEY("tenant_id","session_id")
);
CREATE TABLE "rspp"."published_versions" (
  "tenant_id" text NOT NULL,
  "kind" text NOT NULL,
  "name" text NOT NULL,
  "version" integer NOT NULL,
  "digest" "bytea" NOT NULL,
  "author" text NOT NULL,
  "published_wall_ms" bigint NOT NULL,
  "note" text NOT NULL,
  "deprecated" boolean DEFAULT false NOT NULL,
  "content" "bytea" NOT NULL,
  "source" "bytea" NOT NULL,
  "source_format" text NOT NULL,
  CONSTRAINT "published_versions_tenant_id_kind_name_version_pk" PRIMARY KEY("tenant_id","kind","name","version"),
  CONSTRAINT "published_versions_version" CHECK ("rspp"."published_versions"."version" >= 1),
  CONSTRAINT "published_versions_digest" CHECK (octet_length("rspp"."published_versions"."digest") = 32)
);
CREATE TABLE "rspp"."session_state_entries" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "key" text NOT NULL,
  "value" "bytea" NOT NULL,
  "schema" text NOT NULL,
  CONSTRAINT "session_state_entries_tenant_id_session_id_key_pk" PRIMARY KEY("tenant_id","session_id","key")
);
CREATE TABLE "rspp"."session_states" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "epoch" bigint NOT NULL,
  "version" bigint NOT NULL,
  "written_wall_ms" bigint NOT NULL,
  "request_key" text NOT NULL,
  CONSTRAINT "session_states_tenant_id_session_id_pk" PRIMARY KEY("tenant_id","session_id")
);
CREATE TABLE "rspp"."sessions" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "request_key" text NOT NULL,
  "request_digest" text NOT NULL,
  "pipeline_name" text NOT NULL,
  "pipeline_version" integer NOT NULL,
  "pipeline_digest" "bytea" NOT NULL,
  "transport" text NOT NULL,
  "instance_id" text NOT NULL,
  "endpoint_url" text NOT NULL,
  "region" text NOT NULL,
  "token_id" text NOT NULL,
  "routed_wall_ms" bigint NOT NULL,
  "route_expires_wall_ms" bigint NOT NULL,
  "state" smallint NOT NULL,
  "reconnecting" boolean DEFAULT false NOT NULL,
  "degraded" boolean DEFAULT false NOT NULL,
  "authority_epoch" bigint DEFAULT 0 NOT NULL,
  "started_wall_ms" bigint DEFAULT 0 NOT NULL,
  "turns" integer DEFAULT 0 NOT NULL,
  "open_turn_number" integer DEFAULT 0 NOT NULL,
  "recording_level" smallint DEFAULT 0 NOT NULL,
  "as_of_wall_ms" bigint DEFAULT 0 NOT NULL,
  CONSTRAINT "sessions_tenant_id_session_id_pk" PRIMARY KEY("tenant_id","session_id")
);
CREATE TABLE "rspp"."timeline_segments" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "epoch" bigint NOT NULL,
  "first_sequence" bigint NOT NULL,
  "last_sequence" bigint NOT NULL,
  "object_key" text NOT NULL,
  "bytes" bigint NOT NULL,
  "sha256" "bytea" NOT NULL,
  "head_digest" "bytea" NOT NULL,
  CONSTRAINT "timeline_segments_tenant_id_session_id_epoch_first_sequence_pk" PRIMARY KEY("tenant_id","session_id","epoch","first_sequence")
);
CREATE TABLE "rspp"."timelines" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "pipeline_name" text NOT NULL,
  "pipeline_version" integer NOT NULL,
  "started_wall_ms" bigint NOT NULL,
  "last_wall_ms" bigint NOT NULL,
  "records" bigint NOT NULL,
  "bytes" bigint NOT NULL,
  "turns" integer NOT NULL,
  "recording_level" smallint NOT NULL,
  "complete" boolean NOT NULL,
  CONSTRAINT "timelines_tenant_id_session_id_pk" PRIMARY KEY("tenant_id","session_id")
);
CREATE INDEX "timelines_newest" ON "rspp"."timelines" USING btree ("tenant_id","started_wall_ms","session_id");