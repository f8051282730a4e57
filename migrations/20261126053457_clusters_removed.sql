-- +goose Up
-- drop index "clusters_identity_uid_key" from table: "clusters"
DROP INDEX "clusters_identity_uid_key";
-- drop index "clusters_name_key" from table: "clusters"
DROP INDEX "clusters_name_key";
-- modify "clusters" table
ALTER TABLE "clusters" ADD COLUMN "removed_at" timestamptz NULL;
-- create index "cluster_identity_uid" to table: "clusters"
CREATE UNIQUE INDEX "cluster_identity_uid" ON "clusters" ("identity_uid") WHERE (removed_at IS NULL);
-- create index "cluster_name" to table: "clusters"
CREATE UNIQUE INDEX "cluster_name" ON "clusters" ("name") WHERE (removed_at IS NULL);
-- create index "domainevent_cluster_id_id" to table: "domain_events"
CREATE INDEX "domainevent_cluster_id_id" ON "domain_events" ("cluster_id", "id") WHERE (((status)::text = 'PENDING'::text) OR ((status)::text = 'PROCESSING'::text));
-- create index "vm_cluster_id_name_id" to table: "vms"
CREATE INDEX "vm_cluster_id_name_id" ON "vms" ("cluster_id", "name", "id") WHERE (deleted_at IS NULL);

-- +goose Down
-- reverse: create index "vm_cluster_id_name_id" to table: "vms"
DROP INDEX "vm_cluster_id_name_id";
-- reverse: create index "domainevent_cluster_id_id" to table: "domain_events"
DROP INDEX "domainevent_cluster_id_id";
-- reverse: create index "cluster_name" to table: "clusters"
DROP INDEX "cluster_name";
-- reverse: create index "cluster_identity_uid" to table: "clusters"
DROP INDEX "cluster_identity_uid";
-- reverse: modify "clusters" table
ALTER TABLE "clusters" DROP COLUMN "removed_at";
-- reverse: drop index "clusters_name_key" from table: "clusters"
CREATE UNIQUE INDEX "clusters_name_key" ON "clusters" ("name");
-- reverse: drop index "clusters_identity_uid_key" from table: "clusters"
CREATE UNIQUE INDEX "clusters_identity_uid_key" ON "clusters" ("identity_uid");
