-- +goose Up
-- Records are never changed, whoever writes: ent's hooks say so in Go, these
-- triggers say so to everybody else.
-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE ON "audit_logs" FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_logs_no_truncate BEFORE TRUNCATE ON "audit_logs" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER vm_revisions_append_only BEFORE UPDATE OR DELETE ON "vm_revisions" FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER vm_revisions_no_truncate BEFORE TRUNCATE ON "vm_revisions" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Of an event only the progress may change: what it says is written once.
-- +goose StatementBegin
CREATE FUNCTION refuse_payload_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF ROW(NEW.id, NEW.type, NEW.aggregate_type, NEW.aggregate_id, NEW.payload, NEW.created_by, NEW.created_at, NEW.ticket_id, NEW.cluster_id)
     IS DISTINCT FROM
     ROW(OLD.id, OLD.type, OLD.aggregate_type, OLD.aggregate_id, OLD.payload, OLD.created_by, OLD.created_at, OLD.ticket_id, OLD.cluster_id) THEN
    RAISE EXCEPTION 'the payload of % is immutable', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END;
$$;
-- +goose StatementEnd
CREATE TRIGGER domain_events_payload BEFORE UPDATE ON "domain_events" FOR EACH ROW EXECUTE FUNCTION refuse_payload_change();
CREATE TRIGGER domain_events_no_delete BEFORE DELETE ON "domain_events" FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER domain_events_no_truncate BEFORE TRUNCATE ON "domain_events" FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
