-- +goose Up
-- create "groups" table
CREATE TABLE "groups" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "updated_at" timestamptz NOT NULL, "name" character varying NOT NULL, "description" character varying NULL, "external" character varying NULL, PRIMARY KEY ("id"));
-- create index "groups_external_key" to table: "groups"
CREATE UNIQUE INDEX "groups_external_key" ON "groups" ("external");
-- create index "groups_name_key" to table: "groups"
CREATE UNIQUE INDEX "groups_name_key" ON "groups" ("name");
-- create "group_members" table
CREATE TABLE "group_members" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "source" character varying NOT NULL, "created_by" character varying NOT NULL, "group_id" uuid NOT NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "group_members_groups_members" FOREIGN KEY ("group_id") REFERENCES "groups" ("id") ON UPDATE NO ACTION ON DELETE CASCADE, CONSTRAINT "group_members_users_memberships" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- create index "groupmember_group_id_user_id" to table: "group_members"
CREATE INDEX "groupmember_group_id_user_id" ON "group_members" ("group_id", "user_id");
-- create index "groupmember_user_id_group_id_source" to table: "group_members"
CREATE UNIQUE INDEX "groupmember_user_id_group_id_source" ON "group_members" ("user_id", "group_id", "source");
-- drop index "rolebinding_user_id_role_system_id_environment" from table: "role_bindings"
DROP INDEX "rolebinding_user_id_role_system_id_environment";
-- modify "role_bindings" table
ALTER TABLE "role_bindings" ADD CONSTRAINT "role_bindings_one_holder" CHECK ((user_id IS NULL) <> (group_id IS NULL)), ADD CONSTRAINT "role_bindings_one_place" CHECK ((system_id IS NULL) OR (environment IS NULL)), ALTER COLUMN "user_id" DROP NOT NULL, ADD COLUMN "group_id" uuid NULL, ADD CONSTRAINT "role_bindings_groups_bindings" FOREIGN KEY ("group_id") REFERENCES "groups" ("id") ON UPDATE NO ACTION ON DELETE CASCADE;
-- create index "rolebinding_group_id" to table: "role_bindings"
CREATE INDEX "rolebinding_group_id" ON "role_bindings" ("group_id");
-- create index "rolebinding_once_group" to table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_once_group" ON "role_bindings" ("group_id", "role") WHERE ((system_id IS NULL) AND (environment IS NULL));
-- create index "rolebinding_once_group_environment" to table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_once_group_environment" ON "role_bindings" ("group_id", "role", "environment") WHERE (environment IS NOT NULL);
-- create index "rolebinding_once_group_system" to table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_once_group_system" ON "role_bindings" ("group_id", "role", "system_id") WHERE (system_id IS NOT NULL);
-- create index "rolebinding_once_user" to table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_once_user" ON "role_bindings" ("user_id", "role") WHERE ((system_id IS NULL) AND (environment IS NULL));
-- create index "rolebinding_once_user_environment" to table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_once_user_environment" ON "role_bindings" ("user_id", "role", "environment") WHERE (environment IS NOT NULL);
-- create index "rolebinding_once_user_system" to table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_once_user_system" ON "role_bindings" ("user_id", "role", "system_id") WHERE (system_id IS NOT NULL);
-- create index "rolebinding_user_id" to table: "role_bindings"
CREATE INDEX "rolebinding_user_id" ON "role_bindings" ("user_id");

-- +goose Down
-- reverse: create index "rolebinding_user_id" to table: "role_bindings"
DROP INDEX "rolebinding_user_id";
-- reverse: create index "rolebinding_once_user_system" to table: "role_bindings"
DROP INDEX "rolebinding_once_user_system";
-- reverse: create index "rolebinding_once_user_environment" to table: "role_bindings"
DROP INDEX "rolebinding_once_user_environment";
-- reverse: create index "rolebinding_once_user" to table: "role_bindings"
DROP INDEX "rolebinding_once_user";
-- reverse: create index "rolebinding_once_group_system" to table: "role_bindings"
DROP INDEX "rolebinding_once_group_system";
-- reverse: create index "rolebinding_once_group_environment" to table: "role_bindings"
DROP INDEX "rolebinding_once_group_environment";
-- reverse: create index "rolebinding_once_group" to table: "role_bindings"
DROP INDEX "rolebinding_once_group";
-- reverse: create index "rolebinding_group_id" to table: "role_bindings"
DROP INDEX "rolebinding_group_id";
-- reverse: modify "role_bindings" table
ALTER TABLE "role_bindings" DROP CONSTRAINT "role_bindings_groups_bindings", DROP COLUMN "group_id", ALTER COLUMN "user_id" SET NOT NULL, DROP CONSTRAINT "role_bindings_one_place", DROP CONSTRAINT "role_bindings_one_holder";
-- reverse: drop index "rolebinding_user_id_role_system_id_environment" from table: "role_bindings"
CREATE UNIQUE INDEX "rolebinding_user_id_role_system_id_environment" ON "role_bindings" ("user_id", "role", "system_id", "environment");
-- reverse: create index "groupmember_user_id_group_id_source" to table: "group_members"
DROP INDEX "groupmember_user_id_group_id_source";
-- reverse: create index "groupmember_group_id_user_id" to table: "group_members"
DROP INDEX "groupmember_group_id_user_id";
-- reverse: create "group_members" table
DROP TABLE "group_members";
-- reverse: create index "groups_name_key" to table: "groups"
DROP INDEX "groups_name_key";
-- reverse: create index "groups_external_key" to table: "groups"
DROP INDEX "groups_external_key";
-- reverse: create "groups" table
DROP TABLE "groups";
