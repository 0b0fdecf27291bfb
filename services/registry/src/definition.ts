import { randomBytes } from "node:crypto";
import { asWallMs } from "@rspp/base/brand";
import { KeyRing } from "@rspp/host/key-ring";
import { tokensOfStore } from "@rspp/host/platform-tokens";
import type { DatabaseService } from "@rspp/host/service";
import { limits } from "@rspp/protocol/limits";
import { pgActiveDocuments } from "@rspp/store/pg-active-documents";
import { pgArtifactStore } from "@rspp/store/pg-artifact-store";
import { pgAuditStore } from "@rspp/store/pg-audit-store";
import { openIncarnation } from "@rspp/store/pg-lease-incarnation";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import { pgSnapshotStore } from "@rspp/store/pg-snapshot-store";
import { pgTokenStore } from "@rspp/store/pg-token-store";
import { StoreError } from "@rspp/store/store-error";
import { accessRoute } from "./access/access-service.ts";
import { auditRoute } from "./audit/audit-service.ts";
import { registryFields } from "./config.ts";
import { createErrorBudget } from "./error-budget.ts";
import { createRegistryService } from "./service.ts";
import { measureSnapshots } from "./snapshots/snapshot-routes.ts";

/** Reports of a gateway that is gone are forgotten after. */
const providersForgottenMs = 3_600_000;

/** A session's token is looked at for so long after its end: a caller who resumes shows the one he came in with. */
const tokenGraceMs = 86_400_000;

/** The registry over the platform's database. */
export const registryDefinition: DatabaseService<typeof registryFields> = {
  service: "registry",
  fields: registryFields,
  database: true,
  start: async (config, { env, log, telemetry }, db) => {
    const { token_key: reference, data: dataDir, token_ms: tokenMs, instance_fresh_ms: instanceFreshMs } = config;
    const { session_keep_ms: keepEndedMs } = config;
    const wallMs = () => asWallMs(Date.now());
    // A restored database is known before any snapshot of it is numbered.
    await openIncarnation(db, limits.LEASE_TERM_MS);
    const tokens = pgTokenStore(db);
    const tokenKeys = await KeyRing.open({
      purpose: "session-token",
      place: { reference, dataDir, name: "session-token", env },
      store: tokens,
      graceMs: tokenMs + tokenGraceMs,
      maxAgeMs: config.token_key_days * 86_400_000,
      wallMs,
    });
    const slo = sloUrl(config.slo_url);
    const documents = pgActiveDocuments(db);
    const ports = {
      pipelines: pgPipelineStore(db),
      artifacts: pgArtifactStore(db),
      sessions: pgSessionStore(db),
      snapshots: pgSnapshotStore(db),
      documents,
      log,
      nowMs: () => performance.now(),
      metrics: telemetry.metrics,
      clock: { wallMs },
      newId: (prefix: string) => `${prefix}_${randomBytes(16).toString("base64url")}`,
      tokenKeys,
      ...(slo === null ? {} : { budget: createErrorBudget({ url: slo, nowMs: () => performance.now(), log }) }),
    };
    const { routes, http, sweep, snapshots } = createRegistryService(ports, { tokenMs, instanceFreshMs, keepEndedMs });
    const { hub, served } = snapshots;
    const measured = measureSnapshots(telemetry.metrics, hub, served);
    hub.start(documents.onChange);
    const access = accessRoute({ store: tokens, keys: tokenKeys, wallMs });
    return {
      routes: [...routes, access, auditRoute(pgAuditStore(db))],
      http,
      tokens: tokensOfStore(tokens),
      sweep: async () => {
        await sweep();
        await tokenKeys.sweep();
        await ports.snapshots.forgetProviders(Date.now() - providersForgottenMs);
      },
      close: async () => {
        measured();
        await hub.close();
      },
    };
  },
};

/** @throws StoreError `invalid`, which ends the start with what is to be written instead. */
function sloUrl(text: string): string | null {
  if (text === "") return null;
  const url = URL.canParse(text) ? new URL(text) : null;
  const web = url !== null && (url.protocol === "http:" || url.protocol === "https:");
  if (web && url.username === "" && url.password === "") return text;
  throw new StoreError(
    "invalid",
    "slo_url is no address of a Prometheus",
    "Write it as http://host:9090, or leave it out",
  );
}
