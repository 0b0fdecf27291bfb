-- The newest snapshot of each kind (kernel.md §7): its version only rises, so that replicas agree and no watcher goes back.
CREATE TABLE "rspp"."snapshots" (
  "kind" text PRIMARY KEY NOT NULL,
  "version" bigint NOT NULL,
  "digest" bytea NOT NULL,
  "content" bytea NOT NULL,
  "taken_wall_ms" bigint NOT NULL,
  CONSTRAINT "snapshots_version" CHECK ("version" >= 0),
  CONSTRAINT "snapshots_digest" CHECK (octet_length("digest") = 32)
);
CREATE FUNCTION rspp.refuse_lower_snapshot() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.version < OLD.version OR (NEW.version = OLD.version AND NEW.digest <> OLD.digest) THEN
    RAISE EXCEPTION 'versions of snapshots never go back' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER snapshots_only_rise BEFORE UPDATE ON "rspp"."snapshots"
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_lower_snapshot();

-- A row per kind, so that a replica that makes one of it never waits for another's insert.
INSERT INTO "rspp"."snapshots" SELECT kind, 0, sha256(''), '', 0
FROM unnest(ARRAY['routing', 'policy', 'rollout', 'admission', 'provider_health']) AS kind;

-- How providers are, as each gateway last told (F-060).
CREATE TABLE "rspp"."provider_reports" (
  "instance_id" text NOT NULL,
  "provider" text NOT NULL,
  "circuit" smallint NOT NULL,
  "error_permille" integer NOT NULL,
  "p95_first_output_ms" integer NOT NULL,
  "price_micros" bigint,
  "available" boolean NOT NULL,
  "reported_wall_ms" bigint NOT NULL,
  CONSTRAINT "provider_reports_instance_id_provider_pk" PRIMARY KEY("instance_id","provider")
);
CREATE INDEX "provider_reports_told" ON "rspp"."provider_reports" USING btree ("reported_wall_ms");
