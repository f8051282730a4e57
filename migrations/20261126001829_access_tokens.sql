-- +goose Up
-- modify "approval_tickets" table
ALTER TABLE "approval_tickets" ADD COLUMN "behind" jsonb NULL;
-- modify "users" table
ALTER TABLE "users" ADD COLUMN "kind" character varying NOT NULL DEFAULT 'person', ADD COLUMN "description" character varying NULL, ADD COLUMN "owner_group_id" uuid NULL, ADD COLUMN "owner_id" uuid NULL, ADD CONSTRAINT "users_groups_services" FOREIGN KEY ("owner_group_id") REFERENCES "groups" ("id") ON UPDATE NO ACTION ON DELETE SET NULL, ADD CONSTRAINT "users_users_services" FOREIGN KEY ("owner_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE RESTRICT;
-- create index "user_kind_username" to table: "users"
CREATE INDEX "user_kind_username" ON "users" ("kind", "username");
-- create index "user_owner_group_id" to table: "users"
CREATE INDEX "user_owner_group_id" ON "users" ("owner_group_id");
-- create index "user_owner_id" to table: "users"
CREATE INDEX "user_owner_id" ON "users" ("owner_id");
-- create "access_tokens" table
CREATE TABLE "access_tokens" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "name" character varying NOT NULL, "scopes" jsonb NOT NULL, "created_by" character varying NOT NULL, "maker_id" uuid NULL, "expires_at" timestamptz NOT NULL, "revoked_at" timestamptz NULL, "revoked_by" character varying NULL, "last_used_at" timestamptz NULL, "last_used_ip" character varying NULL, "refused_at" timestamptz NULL, "reminders" bigint NOT NULL DEFAULT 0, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "access_tokens_users_tokens" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- create index "accesstoken_expires_at" to table: "access_tokens"
CREATE INDEX "accesstoken_expires_at" ON "access_tokens" ("expires_at");
-- create index "accesstoken_user_id_id" to table: "access_tokens"
CREATE INDEX "accesstoken_user_id_id" ON "access_tokens" ("user_id", "id");

-- +goose Down
-- reverse: create index "accesstoken_user_id_id" to table: "access_tokens"
DROP INDEX "accesstoken_user_id_id";
-- reverse: create index "accesstoken_expires_at" to table: "access_tokens"
DROP INDEX "accesstoken_expires_at";
-- reverse: create "access_tokens" table
DROP TABLE "access_tokens";
-- reverse: create index "user_owner_id" to table: "users"
DROP INDEX "user_owner_id";
-- reverse: create index "user_owner_group_id" to table: "users"
DROP INDEX "user_owner_group_id";
-- reverse: create index "user_kind_username" to table: "users"
DROP INDEX "user_kind_username";
-- reverse: modify "users" table
ALTER TABLE "users" DROP CONSTRAINT "users_users_services", DROP CONSTRAINT "users_groups_services", DROP COLUMN "owner_id", DROP COLUMN "owner_group_id", DROP COLUMN "description", DROP COLUMN "kind";
-- reverse: modify "approval_tickets" table
ALTER TABLE "approval_tickets" DROP COLUMN "behind";
