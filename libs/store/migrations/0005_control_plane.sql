-- Which version is in force, and for whom (F-100, F-102). Version 0: withdrawn.
CREATE TABLE "rspp"."active_versions" (
  "tenant_id" text NOT NULL,
  "kind" text NOT NULL,
  "name" text NOT NULL,
  "version" integer NOT NULL,
  "changed_wall_ms" bigint NOT NULL,
  "changed_by" text NOT NULL,
  CONSTRAINT "active_versions_tenant_id_kind_name_pk" PRIMARY KEY("tenant_id","kind","name")
);
-- As it was before there was this table: the newest that is not deprecated.
INSERT INTO "rspp"."active_versions"
SELECT DISTINCT ON (tenant_id, kind, name) tenant_id, kind, name, version, published_wall_ms, author
FROM "rspp"."published_versions" WHERE NOT deprecated ORDER BY tenant_id, kind, name, version DESC;

-- Replicas and watchers of snapshots are woken with the commit.
CREATE FUNCTION rspp.tell_active_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('rspp_active_versions', NEW.kind);
  RETURN NULL;
END $$;
CREATE TRIGGER active_versions_told AFTER INSERT OR UPDATE ON "rspp"."active_versions"
  FOR EACH ROW EXECUTE FUNCTION rspp.tell_active_version();

-- Instances that take no new sessions because somebody asked, whatever they report.
CREATE TABLE "rspp"."instance_drains" (
  "instance_id" text PRIMARY KEY NOT NULL,
  "mode" smallint NOT NULL,
  "deadline_wall_ms" bigint NOT NULL,
  "reason" text NOT NULL,
  "asked_by" text NOT NULL,
  "asked_wall_ms" bigint NOT NULL
);
-- Somebody lost it: new sessions go elsewhere first until then.
ALTER TABLE "rspp"."instances" ADD COLUMN "suspect_until_wall_ms" bigint NOT NULL DEFAULT 0;

ALTER TABLE "rspp"."sessions" ADD COLUMN "decision" jsonb NOT NULL DEFAULT '{}';
ALTER TABLE "rspp"."sessions" ADD COLUMN "admitted_degraded" boolean NOT NULL DEFAULT false;
ALTER TABLE "rspp"."sessions" ADD COLUMN "placement_number" integer NOT NULL DEFAULT 1;
ALTER TABLE "rspp"."sessions" ADD COLUMN "placed_wall_ms" bigint NOT NULL DEFAULT 0;
ALTER TABLE "rspp"."sessions" ADD COLUMN "predecessor_instance_id" text NOT NULL DEFAULT '';
ALTER TABLE "rspp"."sessions" ADD COLUMN "lost_instances" text[] NOT NULL DEFAULT '{}';
ALTER TABLE "rspp"."sessions" ADD COLUMN "migrate_wanted_wall_ms" bigint NOT NULL DEFAULT 0;
ALTER TABLE "rspp"."sessions" ADD COLUMN "lost_since_wall_ms" bigint NOT NULL DEFAULT 0;
ALTER TABLE "rspp"."sessions" ADD COLUMN "ended_wall_ms" bigint NOT NULL DEFAULT 0;
ALTER TABLE "rspp"."sessions" ADD COLUMN "end_reason" text NOT NULL DEFAULT '';
UPDATE "rspp"."sessions" SET "placed_wall_ms" = "routed_wall_ms",
  "ended_wall_ms" = CASE WHEN "state" = 4 THEN greatest("as_of_wall_ms", "route_expires_wall_ms") ELSE 0 END;
-- Places taken are counted from these at each route.
CREATE INDEX "sessions_live" ON "rspp"."sessions" USING btree ("instance_id","endpoint_url") WHERE "state" <> 4;
CREATE INDEX "sessions_live_tenant" ON "rspp"."sessions" USING btree ("tenant_id") WHERE "state" <> 4;
CREATE INDEX "sessions_ended" ON "rspp"."sessions" USING btree ("ended_wall_ms") WHERE "state" = 4;

-- Answers of moves by their key: a repeat gets the first one again.
CREATE TABLE "rspp"."session_moves" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "request_key" text NOT NULL,
  "request_digest" text NOT NULL,
  "placement" jsonb NOT NULL,
  "moved_wall_ms" bigint NOT NULL,
  CONSTRAINT "session_moves_tenant_id_session_id_request_key_pk" PRIMARY KEY("tenant_id","session_id","request_key")
);

-- Token buckets, in thousandths, exact over replicas (F-098).
CREATE TABLE "rspp"."rate_buckets" (
  "tenant_id" text NOT NULL,
  "bucket" text NOT NULL,
  "tokens_milli" bigint NOT NULL,
  "filled_wall_ms" bigint NOT NULL,
  CONSTRAINT "rate_buckets_tenant_id_bucket_pk" PRIMARY KEY("tenant_id","bucket")
);
