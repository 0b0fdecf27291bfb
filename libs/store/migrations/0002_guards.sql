-- What was published or audited stays as it is, whatever program writes to this database (F-015).
CREATE FUNCTION rspp.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of %.% never change', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION rspp.refuse_but_deprecation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wanted boolean := NEW.deprecated;
BEGIN
  NEW.deprecated := OLD.deprecated;
  IF NEW IS DISTINCT FROM OLD THEN
    RAISE EXCEPTION 'a published version never changes' USING ERRCODE = 'restrict_violation';
  END IF;
  NEW.deprecated := wanted;
  RETURN NEW;
END $$;

CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON rspp.audit
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON rspp.audit
  FOR EACH STATEMENT EXECUTE FUNCTION rspp.refuse_change();
CREATE TRIGGER published_versions_no_delete BEFORE DELETE ON rspp.published_versions
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_change();
CREATE TRIGGER published_versions_no_truncate BEFORE TRUNCATE ON rspp.published_versions
  FOR EACH STATEMENT EXECUTE FUNCTION rspp.refuse_change();
CREATE TRIGGER published_versions_no_update BEFORE UPDATE ON rspp.published_versions
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_but_deprecation();

-- The counter of grants only rises, so that no epoch is ever given twice (kernel.md §7).
CREATE FUNCTION rspp.refuse_lower_epoch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.last_epoch < OLD.last_epoch OR NEW.incarnation < OLD.incarnation OR NEW.change_seq < OLD.change_seq THEN
    RAISE EXCEPTION 'epochs never go back' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER lease_store_only_rises BEFORE UPDATE ON rspp.lease_store
  FOR EACH ROW EXECUTE FUNCTION rspp.refuse_lower_epoch();
