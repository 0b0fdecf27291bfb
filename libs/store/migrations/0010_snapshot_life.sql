-- readable-by: 0009
-- Which life of the database a snapshot's number is from: after a restore numbers go on far above, since watchers may have
-- those of the life that was lost, with another content (kernel.md §7).
ALTER TABLE "rspp"."snapshots" ADD COLUMN "incarnation" integer NOT NULL DEFAULT 0;
UPDATE "rspp"."snapshots" SET "incarnation" = coalesce((SELECT max("incarnation") FROM "rspp"."lease_store"), 0);
