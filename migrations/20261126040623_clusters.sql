-- +goose Up
-- modify "clusters" table
ALTER TABLE "clusters" ADD COLUMN "drained" boolean NOT NULL DEFAULT false, ADD COLUMN "weight" bigint NOT NULL DEFAULT 100, ADD COLUMN "hardware" jsonb NULL, ADD COLUMN "credential_kind" character varying NULL, ADD COLUMN "credential_subject" character varying NULL, ADD COLUMN "credential_warned" bigint NOT NULL DEFAULT 0, ADD COLUMN "capabilities" jsonb NULL, ADD COLUMN "described_at" timestamptz NULL, ADD COLUMN "next_check_at" timestamptz NULL, ADD COLUMN "heard_at" timestamptz NULL, ADD COLUMN "list_version" bigint NOT NULL DEFAULT 0, ADD COLUMN "quarantined_at" timestamptz NULL, ADD COLUMN "quarantine_reason" jsonb NULL;
-- what was switched off took no new VMs, and was watched all the same: that is "drained" now
UPDATE "clusters" SET "drained" = true, "enabled" = true WHERE NOT "enabled";
-- modify "namespaces" table
ALTER TABLE "namespaces" ADD COLUMN "presence" character varying NOT NULL DEFAULT 'unknown', ADD COLUMN "quotas" jsonb NULL, ADD COLUMN "checked_at" timestamptz NULL;
-- modify "templates" table
ALTER TABLE "templates" ADD COLUMN "required_features" jsonb NULL, ADD COLUMN "required_hardware" jsonb NULL;
-- create "cluster_events" table
CREATE TABLE "cluster_events" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "kind" character varying NOT NULL, "before" character varying NULL, "after" character varying NULL, "problem" jsonb NULL, "count" bigint NOT NULL DEFAULT 1, "last_at" timestamptz NOT NULL, "cluster_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "cluster_events_clusters_events" FOREIGN KEY ("cluster_id") REFERENCES "clusters" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- create index "clusterevent_cluster_id_id" to table: "cluster_events"
CREATE INDEX "clusterevent_cluster_id_id" ON "cluster_events" ("cluster_id", "id");
-- create index "clusterevent_cluster_id_kind_id" to table: "cluster_events"
CREATE INDEX "clusterevent_cluster_id_kind_id" ON "cluster_events" ("cluster_id", "kind", "id");
-- create index "clusterevent_last_at" to table: "cluster_events"
CREATE INDEX "clusterevent_last_at" ON "cluster_events" ("last_at");
-- create "cluster_replacements" table
CREATE TABLE "cluster_replacements" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "requested_by_id" uuid NOT NULL, "requested_by" character varying NOT NULL, "reason" character varying NULL, "sealed" bytea NOT NULL, "key_id" character varying NOT NULL, "server" character varying NOT NULL, "kind" character varying NULL, "subject" character varying NULL, "credential_expires_at" timestamptz NULL, "identity_uid" character varying NOT NULL, "preflight" jsonb NULL, "expires_at" timestamptz NOT NULL, "cluster_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "cluster_replacements_clusters_replacements" FOREIGN KEY ("cluster_id") REFERENCES "clusters" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- create index "clusterreplacement_cluster_id" to table: "cluster_replacements"
CREATE UNIQUE INDEX "clusterreplacement_cluster_id" ON "cluster_replacements" ("cluster_id");
-- create index "clusterreplacement_expires_at" to table: "cluster_replacements"
CREATE INDEX "clusterreplacement_expires_at" ON "cluster_replacements" ("expires_at");
-- create "quarantine_findings" table
CREATE TABLE "quarantine_findings" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "group" character varying NOT NULL, "vm_id" uuid NULL, "namespace" character varying NOT NULL, "name" character varying NOT NULL, "uid" character varying NULL, "before" jsonb NULL, "after" jsonb NULL, "cluster_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "quarantine_findings_clusters_findings" FOREIGN KEY ("cluster_id") REFERENCES "clusters" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- create index "quarantinefinding_cluster_id_group_namespace_name_id" to table: "quarantine_findings"
CREATE INDEX "quarantinefinding_cluster_id_group_namespace_name_id" ON "quarantine_findings" ("cluster_id", "group", "namespace", "name", "id");
-- create index "quarantinefinding_cluster_id_namespace_name" to table: "quarantine_findings"
CREATE INDEX "quarantinefinding_cluster_id_namespace_name" ON "quarantine_findings" ("cluster_id", "namespace", "name");

-- +goose Down
-- reverse: create index "quarantinefinding_cluster_id_namespace_name" to table: "quarantine_findings"
DROP INDEX "quarantinefinding_cluster_id_namespace_name";
-- reverse: create index "quarantinefinding_cluster_id_group_namespace_name_id" to table: "quarantine_findings"
DROP INDEX "quarantinefinding_cluster_id_group_namespace_name_id";
-- reverse: create "quarantine_findings" table
DROP TABLE "quarantine_findings";
-- reverse: create index "clusterreplacement_expires_at" to table: "cluster_replacements"
DROP INDEX "clusterreplacement_expires_at";
-- reverse: create index "clusterreplacement_cluster_id" to table: "cluster_replacements"
DROP INDEX "clusterreplacement_cluster_id";
-- reverse: create "cluster_replacements" table
DROP TABLE "cluster_replacements";
-- reverse: create index "clusterevent_last_at" to table: "cluster_events"
DROP INDEX "clusterevent_last_at";
-- reverse: create index "clusterevent_cluster_id_kind_id" to table: "cluster_events"
DROP INDEX "clusterevent_cluster_id_kind_id";
-- reverse: create index "clusterevent_cluster_id_id" to table: "cluster_events"
DROP INDEX "clusterevent_cluster_id_id";
-- reverse: create "cluster_events" table
DROP TABLE "cluster_events";
-- reverse: modify "templates" table
ALTER TABLE "templates" DROP COLUMN "required_hardware", DROP COLUMN "required_features";
-- reverse: modify "namespaces" table
ALTER TABLE "namespaces" DROP COLUMN "checked_at", DROP COLUMN "quotas", DROP COLUMN "presence";
-- reverse: modify "clusters" table
ALTER TABLE "clusters" DROP COLUMN "quarantine_reason", DROP COLUMN "quarantined_at", DROP COLUMN "list_version", DROP COLUMN "heard_at", DROP COLUMN "next_check_at", DROP COLUMN "described_at", DROP COLUMN "capabilities", DROP COLUMN "credential_warned", DROP COLUMN "credential_subject", DROP COLUMN "credential_kind", DROP COLUMN "hardware", DROP COLUMN "weight", DROP COLUMN "drained";
