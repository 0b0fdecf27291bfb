ALTER TABLE "rspp"."leases" ADD COLUMN "held_since_epoch" bigint;
-- Whoever holds a lease now is taken to have had it since its epoch alone.
UPDATE "rspp"."leases" SET "held_since_epoch" = "epoch";
ALTER TABLE "rspp"."leases" ALTER COLUMN "held_since_epoch" SET NOT NULL;
CREATE TABLE "rspp"."lease_requests" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "request_key" text NOT NULL,
  "kind" text NOT NULL,
  "holder" text NOT NULL,
  "asked_epoch" bigint NOT NULL,
  "epoch" bigint NOT NULL,
  "at_wall_ms" bigint NOT NULL,
  CONSTRAINT "lease_requests_tenant_id_session_id_request_key_pk" PRIMARY KEY("tenant_id","session_id","request_key")
);
CREATE INDEX "lease_requests_oldest" ON "rspp"."lease_requests" USING btree ("at_wall_ms");
