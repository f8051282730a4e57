-- +goose Up
-- modify "cluster_drafts" table
ALTER TABLE "cluster_drafts" DROP COLUMN "preflight", ADD COLUMN "preflights" jsonb NULL;

-- +goose Down
-- reverse: modify "cluster_drafts" table
ALTER TABLE "cluster_drafts" DROP COLUMN "preflights", ADD COLUMN "preflight" jsonb NULL;
