import { join, resolve } from "node:path";
import { AuditWriter, writeToStore } from "@rspp/host/audit-writer";
import type { DatabaseService } from "@rspp/host/service";
import { openFileObjectStore } from "@rspp/store/file-object-store";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { pgSessionEnds } from "@rspp/store/pg-session-ends";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import { pgTimelineRetention } from "@rspp/store/pg-timeline-retention";
import { replayFields } from "./config.ts";
import { createReplayService } from "./service.ts";
import { webhookAccess } from "./webhooks/access.ts";

const listOf = (text: string): string[] =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

/** The replay service over the platform's database and a folder of objects. */
export const replayDefinition: DatabaseService<typeof replayFields> = {
  service: "replay",
  fields: replayFields,
  database: true,
  start: async ({ data, objects, webhook_origins, webhook_secrets }, { log, env }, db) => {
    const index = pgTimelineIndex(db);
    const documents = pgActiveDocuments(db);
    const audit = new AuditWriter({ write: writeToStore(pgAuditStore(db)), log });
    const { routes, idle, sweep, close } = createReplayService({
      objects: await openFileObjectStore(objects === "" ? join(data, "objects") : resolve(objects)),
      index,
      log,
      after: (ms, fire) => void setTimeout(fire, ms).unref(),
      wallMs: () => Date.now(),
      retention: { retention: pgTimelineRetention(db), documents, actor: "replay" },
      ends: {
        ends: pgSessionEnds(db),
        documents,
        actor: "replay",
        webhooks: webhookAccess({ origins: listOf(webhook_origins), secrets: listOf(webhook_secrets) }, env),
        random: Math.random,
      },
      access: { documents, sink: audit },
    });
    return {
      routes,
      sweep: async () => {
        // Shows whether the database answers.
        await index.info({ tenantId: "", sessionId: "" });
        await sweep();
      },
      drain: async (graceMs) => {
        const late = new Promise<boolean>((done) => setTimeout(() => done(false), graceMs).unref());
        return Promise.race([idle().then(() => true), late]);
      },
      // What came after that is stored while the database is still there.
      close: async () => {
        await close();
        await idle();
        await audit.close();
      },
    };
  },
};
