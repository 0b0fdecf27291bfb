import { join, resolve } from "node:path";
import type { DatabaseService } from "@rspp/host/service";
import { openFileObjectStore } from "@rspp/store/file-object-store";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgTimelineIndex } from "@rspp/store/pg-timeline-index";
import { pgTimelineRetention } from "@rspp/store/pg-timeline-retention";
import { replayFields } from "./config.ts";
import { createReplayService } from "./service.ts";

/** The replay service over the platform's database and a folder of objects. */
export const replayDefinition: DatabaseService<typeof replayFields> = {
  service: "replay",
  fields: replayFields,
  database: true,
  start: async ({ data, objects }, { log }, db) => {
    const index = pgTimelineIndex(db);
    const { routes, idle, sweep } = createReplayService({
      objects: await openFileObjectStore(objects === "" ? join(data, "objects") : resolve(objects)),
      index,
      log,
      after: (ms, fire) => void setTimeout(fire, ms).unref(),
      wallMs: () => Date.now(),
      retention: { retention: pgTimelineRetention(db), documents: pgActiveDocuments(db), actor: "replay" },
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
      close: idle,
    };
  },
};
