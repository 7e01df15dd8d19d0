-- The tables of Evolution API 2.3 as Prisma's migrations leave them, as far as they concern us, with a row in each.
CREATE SCHEMA evolution_api;
SET search_path TO evolution_api;

CREATE TABLE "_prisma_migrations" (
  "id" VARCHAR(36) NOT NULL PRIMARY KEY,
  "checksum" VARCHAR(64) NOT NULL,
  "finished_at" TIMESTAMPTZ,
  "migration_name" VARCHAR(255) NOT NULL,
  "logs" TEXT,
  "rolled_back_at" TIMESTAMPTZ,
  "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
  "applied_steps_count" INTEGER NOT NULL DEFAULT 0
);
CREATE TYPE "InstanceConnectionStatus" AS ENUM ('open', 'close', 'connecting');

CREATE TABLE "Instance" (
  "id" TEXT NOT NULL,
  "name" VARCHAR(255) NOT NULL,
  "connectionStatus" "InstanceConnectionStatus" NOT NULL DEFAULT 'open',
  "ownerJid" VARCHAR(100),
  "profilePicUrl" VARCHAR(500),
  "integration" VARCHAR(100),
  "number" VARCHAR(100),
  "token" VARCHAR(255),
  "clientName" VARCHAR(100),
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP,
  "profileName" VARCHAR(100),
  "businessId" VARCHAR(100),
  "disconnectionAt" TIMESTAMP,
  "disconnectionObject" JSONB,
  "disconnectionReasonCode" INTEGER,
  CONSTRAINT "Instance_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Session" (
  "id" TEXT NOT NULL,
  "sessionId" TEXT NOT NULL,
  "creds" TEXT,
  "createdAt" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "Session_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Webhook" (
  "id" TEXT NOT NULL,
  "url" VARCHAR(500) NOT NULL,
  "enabled" BOOLEAN DEFAULT true,
  "events" JSONB,
  "webhookByEvents" BOOLEAN DEFAULT false,
  "webhookBase64" BOOLEAN DEFAULT false,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  "headers" JSONB,
  CONSTRAINT "Webhook_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Chatwoot" (
  "id" TEXT NOT NULL,
  "enabled" BOOLEAN DEFAULT true,
  "accountId" VARCHAR(100),
  "token" VARCHAR(100),
  "url" VARCHAR(500),
  "nameInbox" VARCHAR(100),
  "signMsg" BOOLEAN DEFAULT false,
  "signDelimiter" VARCHAR(100),
  "number" VARCHAR(100),
  "reopenConversation" BOOLEAN DEFAULT false,
  "conversationPending" BOOLEAN DEFAULT false,
  "mergeBrazilContacts" BOOLEAN DEFAULT false,
  "importContacts" BOOLEAN DEFAULT false,
  "importMessages" BOOLEAN DEFAULT false,
  "daysLimitImportMessages" INTEGER,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  "logo" VARCHAR(500),
  "organization" VARCHAR(100),
  "ignoreJids" JSONB,
  CONSTRAINT "Chatwoot_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Setting" (
  "id" TEXT NOT NULL,
  "rejectCall" BOOLEAN NOT NULL DEFAULT false,
  "msgCall" VARCHAR(100),
  "groupsIgnore" BOOLEAN NOT NULL DEFAULT false,
  "alwaysOnline" BOOLEAN NOT NULL DEFAULT false,
  "readMessages" BOOLEAN NOT NULL DEFAULT false,
  "readStatus" BOOLEAN NOT NULL DEFAULT false,
  "syncFullHistory" BOOLEAN NOT NULL DEFAULT false,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  "wavoipToken" VARCHAR(100),
  CONSTRAINT "Setting_pkey" PRIMARY KEY ("id")
);
CREATE TABLE "Proxy" (
  "id" TEXT NOT NULL,
  "enabled" BOOLEAN NOT NULL DEFAULT false,
  "host" VARCHAR(100) NOT NULL,
  "port" VARCHAR(100) NOT NULL,
  "protocol" VARCHAR(100) NOT NULL,
  "username" VARCHAR(100) NOT NULL,
  "password" VARCHAR(100) NOT NULL,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  CONSTRAINT "Proxy_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX "Instance_name_key" ON "Instance" ("name");
CREATE UNIQUE INDEX "Session_sessionId_key" ON "Session" ("sessionId");
CREATE UNIQUE INDEX "Webhook_instanceId_key" ON "Webhook" ("instanceId");
CREATE INDEX "Webhook_instanceId_idx" ON "Webhook" ("instanceId");
CREATE UNIQUE INDEX "Chatwoot_instanceId_key" ON "Chatwoot" ("instanceId");
CREATE UNIQUE INDEX "Setting_instanceId_key" ON "Setting" ("instanceId");
CREATE INDEX "Setting_instanceId_idx" ON "Setting" ("instanceId");
CREATE UNIQUE INDEX "Proxy_instanceId_key" ON "Proxy" ("instanceId");
ALTER TABLE "Session" ADD CONSTRAINT "Session_sessionId_fkey"
  FOREIGN KEY ("sessionId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Webhook" ADD CONSTRAINT "Webhook_instanceId_fkey"
  FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Chatwoot" ADD CONSTRAINT "Chatwoot_instanceId_fkey"
  FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Setting" ADD CONSTRAINT "Setting_instanceId_fkey"
  FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "Proxy" ADD CONSTRAINT "Proxy_instanceId_fkey"
  FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE;

INSERT INTO "_prisma_migrations" ("id", "checksum", "migration_name", "applied_steps_count")
  VALUES ('1', 'x', '20250515211815_add_evoai_table', 1);
INSERT INTO "Instance" ("id", "name", "connectionStatus", "token", "clientName", "disconnectionReasonCode", "disconnectionObject", "updatedAt")
  VALUES ('b2c3', 'theirs', 'open', 'their-token', 'holdfast_test', 401, '"{\"error\":\"conflict\"}"', '2025-10-21 12:00:00');
INSERT INTO "Session" ("id", "sessionId", "creds") VALUES ('cls', 'b2c3', '"{\"noiseKey\":{\"private\":{\"type\":\"Buffer\"}}}"');
INSERT INTO "Webhook" ("id", "url", "events", "headers", "updatedAt", "instanceId")
  VALUES ('clw', 'http://receiver.test/hook', '["MESSAGES_UPSERT"]', '{"x": "y"}', now(), 'b2c3');
INSERT INTO "Chatwoot" ("id", "accountId", "ignoreJids", "updatedAt", "instanceId") VALUES ('clc', '1', '["@g.us"]', now(), 'b2c3');
INSERT INTO "Setting" ("id", "groupsIgnore", "msgCall", "updatedAt", "instanceId") VALUES ('cle', true, 'later', now(), 'b2c3');
INSERT INTO "Proxy" ("id", "enabled", "host", "port", "protocol", "username", "password", "updatedAt", "instanceId")
  VALUES ('clp', true, 'proxy.test', '3128', 'http', '', '', now(), 'b2c3');
