-- One object holds the segments of many sessions of a tenant, and a row says where in it its own stands; those of before
-- are objects of their own.
ALTER TABLE "rspp"."timeline_segments" ADD COLUMN "byte_offset" bigint NOT NULL DEFAULT 0;
CREATE INDEX "timeline_segments_object" ON "rspp"."timeline_segments" USING btree ("object_key");
-- Objects given up: no row may name one of them any longer, however late its writer comes.
CREATE TABLE "rspp"."timeline_swept_objects" (
  "object_key" text PRIMARY KEY NOT NULL,
  "swept_at" timestamptz NOT NULL DEFAULT now()
);
