import { randomBytes } from "node:crypto";
import { asWallMs } from "@rspp/base/brand";
import type { DatabaseService } from "@rspp/host/service";
import { openSigningKey } from "@rspp/host/signing-key";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import { pgSnapshotStore } from "@rspp/store/pg-snapshot-store";
import { registryFields } from "./config.ts";
import { createRegistryService } from "./service.ts";
import { measureSnapshots } from "./snapshots/snapshot-routes.ts";

/** Reports of a gateway that is gone are forgotten after. */
const providersForgottenMs = 3_600_000;

/** The registry over the platform's database. */
export const registryDefinition: DatabaseService<typeof registryFields> = {
  service: "registry",
  fields: registryFields,
  database: true,
  start: async (config, { env, log, telemetry }, db) => {
    const { token_key: reference, data: dataDir, token_ms: tokenMs, instance_fresh_ms: instanceFreshMs } = config;
    const tokenKey = await openSigningKey({ reference, dataDir, name: "session-token", env });
    const documents = pgActiveDocuments(db);
    const ports = {
      pipelines: pgPipelineStore(db),
      sessions: pgSessionStore(db),
      snapshots: pgSnapshotStore(db),
      documents,
      log,
      nowMs: () => performance.now(),
      clock: { wallMs: () => asWallMs(Date.now()) },
      newId: (prefix: string) => `${prefix}_${randomBytes(16).toString("base64url")}`,
      tokenKey,
    };
    const { routes, http, statuses, snapshots } = createRegistryService(ports, { tokenMs, instanceFreshMs });
    const { hub, served } = snapshots;
    const measured = measureSnapshots(telemetry.metrics, hub, served);
    hub.start(documents.onChange);
    return {
      routes,
      http,
      sweep: async () => {
        await statuses.sweep();
        await ports.snapshots.forgetProviders(Date.now() - providersForgottenMs);
      },
      close: async () => {
        measured();
        await hub.close();
      },
    };
  },
};
