-- Public halves of the keys that sign tokens and grants: every replica publishes all of them, so that a key may change while
-- what the old one signed stays good (F-169).
CREATE TABLE "rspp"."signing_keys" (
  "purpose" text NOT NULL,
  "key_id" text NOT NULL,
  "public_key" "bytea" NOT NULL,
  "created_wall_ms" bigint NOT NULL,
  "seen_wall_ms" bigint NOT NULL,
  "used_until_wall_ms" bigint NOT NULL DEFAULT 0,
  "not_after_wall_ms" bigint NOT NULL DEFAULT 0,
  CONSTRAINT "signing_keys_purpose_key_id_pk" PRIMARY KEY("purpose","key_id"),
  CONSTRAINT "signing_keys_public_key" CHECK (octet_length("public_key") = 32)
);

-- Tokens of people and tools, without the tokens (F-115).
CREATE TABLE "rspp"."access_tokens" (
  "token_id" text PRIMARY KEY NOT NULL,
  "tenant_id" text NOT NULL,
  "subject" text NOT NULL,
  "role" smallint NOT NULL,
  "issued_wall_ms" bigint NOT NULL,
  "expires_wall_ms" bigint NOT NULL,
  "revoked_wall_ms" bigint NOT NULL DEFAULT 0,
  "created_by" text NOT NULL
);
CREATE INDEX "access_tokens_newest" ON "rspp"."access_tokens" USING btree ("tenant_id","issued_wall_ms","token_id");
CREATE INDEX "access_tokens_revoked" ON "rspp"."access_tokens" USING btree ("expires_wall_ms") WHERE "revoked_wall_ms" > 0;

-- The audit log becomes a chain (F-097, F-170): each row holds the digest of the one before. The head is one row, whose lock
-- puts writers in order; it shows when the last rows are missing.
ALTER TABLE "rspp"."audit" ADD COLUMN "previous" "bytea" NOT NULL DEFAULT '\x';
ALTER TABLE "rspp"."audit" ADD COLUMN "digest" "bytea" NOT NULL DEFAULT '\x';
CREATE TABLE "rspp"."audit_head" (
  "one" smallint PRIMARY KEY NOT NULL DEFAULT 1,
  "last_id" bigint NOT NULL,
  "last_digest" "bytea" NOT NULL,
  CONSTRAINT "audit_head_one" CHECK ("one" = 1)
);
INSERT INTO "rspp"."audit_head" VALUES (1, 0, decode(repeat('00', 32), 'hex'));

-- What the digest is taken over, besides the digest before.
CREATE FUNCTION rspp.audit_row(a rspp.audit) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_array(a.id, a.tenant_id, a.at_wall_ms, a.actor, a.action, a.subject, a.detail)::text
$$;
CREATE FUNCTION rspp.chain_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  head rspp.audit_head;
BEGIN
  SELECT * INTO STRICT head FROM rspp.audit_head FOR UPDATE;
  NEW.id := head.last_id + 1;
  NEW.previous := head.last_digest;
  NEW.digest := sha256(NEW.previous || convert_to(rspp.audit_row(NEW), 'UTF8'));
  UPDATE rspp.audit_head SET last_id = NEW.id, last_digest = NEW.digest;
  RETURN NEW;
END $$;
CREATE FUNCTION rspp.refuse_lower_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.last_id <> OLD.last_id + 1 THEN
    RAISE EXCEPTION 'the head of the audit log moves by one record' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

-- Rows there are already: numbered without gaps and chained as they stand.
ALTER TABLE "rspp"."audit" DISABLE TRIGGER "audit_no_change";
DO $$
DECLARE
  old_id bigint;
  n bigint := 0;
  head bytea := decode(repeat('00', 32), 'hex');
BEGIN
  FOR old_id IN SELECT id FROM rspp.audit ORDER BY id LOOP
    n := n + 1;
    UPDATE rspp.audit SET id = n, previous = head WHERE id = old_id;
    UPDATE rspp.audit a SET digest = sha256(a.previous || convert_to(rspp.audit_row(a), 'UTF8')) WHERE id = n
      RETURNING digest INTO head;
  END LOOP;
  UPDATE rspp.audit_head SET last_id = n, last_digest = head;
END $$;
ALTER TABLE "rspp"."audit" ENABLE TRIGGER "audit_no_change";

CREATE TRIGGER audit_chained BEFORE INSERT ON "rspp"."audit" FOR EACH ROW EXECUTE FUNCTION rspp.chain_audit();
CREATE TRIGGER audit_head_rises BEFORE UPDATE ON "rspp"."audit_head"
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_lower_head();
CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON "rspp"."audit_head"
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_change();
CREATE TRIGGER audit_head_no_truncate BEFORE TRUNCATE ON "rspp"."audit_head"
  FOR EACH STATEMENT EXECUTE FUNCTION rspp.refuse_change();
-- Reports of services without a database may be sent twice.
CREATE INDEX "audit_report" ON "rspp"."audit" USING btree (("detail"->>'report')) WHERE "detail" ? 'report';
