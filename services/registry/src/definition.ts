import { randomBytes } from "node:crypto";
import { asWallMs } from "@rspp/base/brand";
import type { DatabaseService } from "@rspp/host/service";
import { openSigningKey } from "@rspp/host/signing-key";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import { registryFields } from "./config.ts";
import { createRegistryService } from "./service.ts";

/** The registry over the platform's database. */
export const registryDefinition: DatabaseService<typeof registryFields> = {
  service: "registry",
  fields: registryFields,
  database: true,
  start: async (config, { env }, db) => {
    const { token_key: reference, data: dataDir, token_ms: tokenMs, instance_fresh_ms: instanceFreshMs } = config;
    const tokenKey = await openSigningKey({ reference, dataDir, name: "session-token", env });
    const ports = {
      pipelines: pgPipelineStore(db),
      sessions: pgSessionStore(db),
      clock: { wallMs: () => asWallMs(Date.now()) },
      newId: (prefix: string) => `${prefix}_${randomBytes(16).toString("base64url")}`,
      tokenKey,
    };
    const { routes, http, statuses } = createRegistryService(ports, { tokenMs, instanceFreshMs });
    return { routes, http, sweep: () => statuses.sweep() };
  },
};
