-- Epochs and change numbers of leases come from sequences, so that grants of different sessions do not wait for one row
-- (kernel.md §7). The store's row keeps the incarnation alone.
CREATE SEQUENCE "rspp"."lease_epochs" AS bigint;
CREATE SEQUENCE "rspp"."lease_changes" AS bigint;
-- How far the sequence of epochs had come when this incarnation began: an epoch counts from there.
ALTER TABLE "rspp"."lease_store" ADD COLUMN "epochs_before" bigint NOT NULL DEFAULT 0;
SELECT setval('rspp.lease_epochs', coalesce(max("last_epoch" - "incarnation" * 4294967296), 0) + 1, false),
       setval('rspp.lease_changes', greatest(coalesce(max("change_seq"), 0), (SELECT coalesce(max("change_seq"), 0) FROM "rspp"."leases")) + 1, false)
FROM "rspp"."lease_store";

-- A number that a sequence gave, whatever becomes of the transaction.
CREATE FUNCTION rspp.sequence_position(name text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  n bigint;
BEGIN
  EXECUTE format('SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM rspp.%I', name) INTO n;
  RETURN n;
END $$;

-- Advisory locks of the lease store, in the order they are taken: 1 everybody (alone: a reopening), 2 who issues (alone: a
-- receiver's sync), 3 one session. 4 marks a change number that is given out and not committed.
CREATE FUNCTION rspp.lock_leases() RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock_shared(1819631984, 1)
$$;
CREATE FUNCTION rspp.lock_lease_session(tenant text, session text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1819631984, 1);
  PERFORM pg_advisory_xact_lock_shared(1819631984, 2);
  PERFORM pg_advisory_xact_lock(hashtextextended(jsonb_build_array(tenant, session)::text, 1819631984));
END $$;
CREATE FUNCTION rspp.lock_lease_issue() RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(1819631984, 2)
$$;
CREATE FUNCTION rspp.lock_lease_store() RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(1819631984, 1)
$$;

-- The next change number. It is above the mark, which is set first: a reader that finds no mark below a number knows that
-- every change up to it is committed or gone.
CREATE FUNCTION rspp.next_lease_change() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(1819631985, (rspp.sequence_position('lease_changes') % 2147483648)::int);
  RETURN nextval('rspp.lease_changes');
END $$;
-- Every change up to this number is seen by a statement that begins after this one; no later one is told before its time.
CREATE FUNCTION rspp.settled_lease_changes() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  head bigint := rspp.sequence_position('lease_changes');
  behind bigint;
BEGIN
  SELECT max(b) INTO behind FROM (
    SELECT ((head - objid::bigint) % 2147483648 + 2147483648) % 2147483648 AS b FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1819631985 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS marks
  WHERE b < 1073741824; -- others were set since the head was read
  RETURN head - coalesce(behind, 0);
END $$;

-- Epochs only rise, session by session, and none is in two, whatever program writes to this database.
CREATE UNIQUE INDEX "leases_epoch" ON "rspp"."leases" USING btree ("epoch");
CREATE FUNCTION rspp.refuse_lower_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.epoch < OLD.epoch OR NEW.change_seq < OLD.change_seq THEN
    RAISE EXCEPTION 'epochs never go back' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER leases_only_rise BEFORE UPDATE ON rspp.leases FOR EACH ROW EXECUTE FUNCTION rspp.refuse_lower_lease();

-- A build that still counts in the store's row would give epochs a second time.
CREATE OR REPLACE FUNCTION rspp.refuse_lower_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.incarnation < OLD.incarnation THEN
    RAISE EXCEPTION 'epochs never go back' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.incarnation = OLD.incarnation AND (NEW.epochs_before, NEW.last_epoch, NEW.change_seq)
      IS DISTINCT FROM (OLD.epochs_before, OLD.last_epoch, OLD.change_seq) THEN
    RAISE EXCEPTION 'this build of the lease service is too old to issue epochs here' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
