-- +goose Up
-- create index "cluster_credential_expires_at" to table: "clusters"
CREATE INDEX "cluster_credential_expires_at" ON "clusters" ("credential_expires_at");

-- +goose Down
-- reverse: create index "cluster_credential_expires_at" to table: "clusters"
DROP INDEX "cluster_credential_expires_at";
