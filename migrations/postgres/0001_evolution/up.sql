-- The tables that Evolution API knows, as its own migrations leave them; in a database of Evolution they are there already, and stay as
-- they are.

DO $$ BEGIN
  IF to_regtype('"InstanceConnectionStatus"') IS NULL THEN
    CREATE TYPE "InstanceConnectionStatus" AS ENUM ('open', 'close', 'connecting');
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS "Instance" (
  "id" TEXT NOT NULL,
  "name" VARCHAR(255) NOT NULL,
  "connectionStatus" "InstanceConnectionStatus" NOT NULL DEFAULT 'open',
  "ownerJid" VARCHAR(100),
  "profileName" VARCHAR(100),
  "profilePicUrl" VARCHAR(500),
  "integration" VARCHAR(100),
  "number" VARCHAR(100),
  "businessId" VARCHAR(100),
  "token" VARCHAR(255),
  "clientName" VARCHAR(100),
  "disconnectionReasonCode" INTEGER,
  "disconnectionObject" JSONB,
  "disconnectionAt" TIMESTAMP,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP,
  CONSTRAINT "Instance_pkey" PRIMARY KEY ("id")
);
CREATE UNIQUE INDEX IF NOT EXISTS "Instance_name_key" ON "Instance" ("name");

CREATE TABLE IF NOT EXISTS "Session" (
  "id" TEXT NOT NULL,
  "sessionId" TEXT NOT NULL,
  "creds" TEXT,
  "createdAt" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "Session_pkey" PRIMARY KEY ("id"),
  CONSTRAINT "Session_sessionId_fkey" FOREIGN KEY ("sessionId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS "Session_sessionId_key" ON "Session" ("sessionId");

CREATE TABLE IF NOT EXISTS "Webhook" (
  "id" TEXT NOT NULL,
  "url" VARCHAR(500) NOT NULL,
  "headers" JSONB,
  "enabled" BOOLEAN DEFAULT true,
  "events" JSONB,
  "webhookByEvents" BOOLEAN DEFAULT false,
  "webhookBase64" BOOLEAN DEFAULT false,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  CONSTRAINT "Webhook_pkey" PRIMARY KEY ("id"),
  CONSTRAINT "Webhook_instanceId_fkey" FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS "Webhook_instanceId_key" ON "Webhook" ("instanceId");

CREATE TABLE IF NOT EXISTS "Chatwoot" (
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
  "organization" VARCHAR(100),
  "logo" VARCHAR(500),
  "ignoreJids" JSONB,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  CONSTRAINT "Chatwoot_pkey" PRIMARY KEY ("id"),
  CONSTRAINT "Chatwoot_instanceId_fkey" FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS "Chatwoot_instanceId_key" ON "Chatwoot" ("instanceId");

CREATE TABLE IF NOT EXISTS "Proxy" (
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
  CONSTRAINT "Proxy_pkey" PRIMARY KEY ("id"),
  CONSTRAINT "Proxy_instanceId_fkey" FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS "Proxy_instanceId_key" ON "Proxy" ("instanceId");

CREATE TABLE IF NOT EXISTS "Setting" (
  "id" TEXT NOT NULL,
  "rejectCall" BOOLEAN NOT NULL DEFAULT false,
  "msgCall" VARCHAR(100),
  "groupsIgnore" BOOLEAN NOT NULL DEFAULT false,
  "alwaysOnline" BOOLEAN NOT NULL DEFAULT false,
  "readMessages" BOOLEAN NOT NULL DEFAULT false,
  "readStatus" BOOLEAN NOT NULL DEFAULT false,
  "syncFullHistory" BOOLEAN NOT NULL DEFAULT false,
  "wavoipToken" VARCHAR(100),
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL,
  CONSTRAINT "Setting_pkey" PRIMARY KEY ("id"),
  CONSTRAINT "Setting_instanceId_fkey" FOREIGN KEY ("instanceId") REFERENCES "Instance" ("id") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE UNIQUE INDEX IF NOT EXISTS "Setting_instanceId_key" ON "Setting" ("instanceId");
