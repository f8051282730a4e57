-- +goose Up
-- modify "users" table
ALTER TABLE "users" ADD COLUMN "language" character varying NULL;

-- +goose Down
-- reverse: modify "users" table
ALTER TABLE "users" DROP COLUMN "language";
