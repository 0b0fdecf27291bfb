-- A timeline's summary is the sum of its segments, which several epochs may add to at the same time.
ALTER TABLE "rspp"."timelines" DROP COLUMN "complete";
ALTER TABLE "rspp"."timelines" ADD COLUMN "ended" boolean NOT NULL DEFAULT false;
ALTER TABLE "rspp"."timelines" ADD COLUMN "losses" integer NOT NULL DEFAULT 0;
