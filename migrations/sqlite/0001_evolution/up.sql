-- The tables that Evolution API knows, with its names and columns, so that a client of the database finds what it expects.
-- varchar(n) is TEXT (the engine clips what it writes), enums are TEXT with a check, jsonb is JSON text, timestamps are UTC text.

CREATE TABLE IF NOT EXISTS "Instance" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "name" TEXT NOT NULL UNIQUE,
  "connectionStatus" TEXT NOT NULL DEFAULT 'open' CHECK ("connectionStatus" IN ('open', 'close', 'connecting')),
  "ownerJid" TEXT,
  "profileName" TEXT,
  "profilePicUrl" TEXT,
  "integration" TEXT,
  "number" TEXT,
  "businessId" TEXT,
  "token" TEXT,
  "clientName" TEXT,
  "disconnectionReasonCode" INTEGER,
  "disconnectionObject" TEXT,
  "disconnectionAt" TIMESTAMP,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP
);

CREATE TABLE IF NOT EXISTS "Session" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "sessionId" TEXT NOT NULL UNIQUE REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE,
  "creds" TEXT,
  "createdAt" TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE IF NOT EXISTS "Webhook" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "url" TEXT NOT NULL,
  "headers" TEXT,
  "enabled" BOOLEAN DEFAULT TRUE,
  "events" TEXT,
  "webhookByEvents" BOOLEAN DEFAULT FALSE,
  "webhookBase64" BOOLEAN DEFAULT FALSE,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL UNIQUE REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS "Chatwoot" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "enabled" BOOLEAN DEFAULT TRUE,
  "accountId" TEXT,
  "token" TEXT,
  "url" TEXT,
  "nameInbox" TEXT,
  "signMsg" BOOLEAN DEFAULT FALSE,
  "signDelimiter" TEXT,
  "number" TEXT,
  "reopenConversation" BOOLEAN DEFAULT FALSE,
  "conversationPending" BOOLEAN DEFAULT FALSE,
  "mergeBrazilContacts" BOOLEAN DEFAULT FALSE,
  "importContacts" BOOLEAN DEFAULT FALSE,
  "importMessages" BOOLEAN DEFAULT FALSE,
  "daysLimitImportMessages" INTEGER,
  "organization" TEXT,
  "logo" TEXT,
  "ignoreJids" TEXT,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL UNIQUE REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS "Proxy" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "enabled" BOOLEAN NOT NULL DEFAULT FALSE,
  "host" TEXT NOT NULL,
  "port" TEXT NOT NULL,
  "protocol" TEXT NOT NULL,
  "username" TEXT NOT NULL,
  "password" TEXT NOT NULL,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL UNIQUE REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE
);

CREATE TABLE IF NOT EXISTS "Setting" (
  "id" TEXT NOT NULL PRIMARY KEY,
  "rejectCall" BOOLEAN NOT NULL DEFAULT FALSE,
  "msgCall" TEXT,
  "groupsIgnore" BOOLEAN NOT NULL DEFAULT FALSE,
  "alwaysOnline" BOOLEAN NOT NULL DEFAULT FALSE,
  "readMessages" BOOLEAN NOT NULL DEFAULT FALSE,
  "readStatus" BOOLEAN NOT NULL DEFAULT FALSE,
  "syncFullHistory" BOOLEAN NOT NULL DEFAULT FALSE,
  "wavoipToken" TEXT,
  "createdAt" TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  "updatedAt" TIMESTAMP NOT NULL,
  "instanceId" TEXT NOT NULL UNIQUE REFERENCES "Instance" ("id") ON UPDATE CASCADE ON DELETE CASCADE
);
