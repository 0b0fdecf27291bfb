-- readable-by: 0010
-- Sessions that have ended: what became of them in one row each (F-075), and whom it is told (X-06). Timelines of before are
-- summed up when somebody asks; nobody is told of them any more.
ALTER TABLE "rspp"."timelines" ADD COLUMN "summed_up" boolean NOT NULL DEFAULT false;
UPDATE "rspp"."timelines" SET "summed_up" = true WHERE "ended";
CREATE INDEX "timelines_open" ON "rspp"."timelines" USING btree ("last_wall_ms") WHERE NOT "summed_up";
CREATE TABLE "rspp"."session_summaries" (
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "ended_wall_ms" bigint NOT NULL,
  "pipeline_name" text NOT NULL,
  "summary" jsonb NOT NULL,
  PRIMARY KEY ("tenant_id", "session_id")
);
CREATE INDEX "session_summaries_newest" ON "rspp"."session_summaries" USING btree ("tenant_id", "ended_wall_ms", "session_id");
-- `state`: 0 waits, 1 delivered, 2 dead. `body` is what is signed, the same bytes at each attempt; `secret` is a reference.
CREATE TABLE "rspp"."webhook_outbox" (
  "id" text PRIMARY KEY NOT NULL,
  "tenant_id" text NOT NULL,
  "session_id" text NOT NULL,
  "event" text NOT NULL,
  "url" text NOT NULL,
  "secret" text NOT NULL,
  "secret_tenant" text NOT NULL,
  "body" text NOT NULL,
  "created_wall_ms" bigint NOT NULL,
  "next_wall_ms" bigint NOT NULL,
  "attempts" integer NOT NULL DEFAULT 0,
  "state" smallint NOT NULL DEFAULT 0,
  "outcome" text NOT NULL DEFAULT '',
  "finished_wall_ms" bigint NOT NULL DEFAULT 0
);
CREATE INDEX "webhook_outbox_due" ON "rspp"."webhook_outbox" USING btree ("next_wall_ms") WHERE "state" = 0;
CREATE INDEX "webhook_outbox_tenant" ON "rspp"."webhook_outbox" USING btree ("tenant_id") WHERE "state" = 0;
CREATE INDEX "webhook_outbox_finished" ON "rspp"."webhook_outbox" USING btree ("finished_wall_ms") WHERE "state" <> 0;
