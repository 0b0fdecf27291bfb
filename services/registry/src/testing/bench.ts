/** Two registries on one database, for tests: their logic without a socket, on a clock that is moved by hand. */
import { readFileSync } from "node:fs";
import { asWallMs } from "@rspp/base/brand";
import type { Database } from "@rspp/store/database";
import { pgArtifactStore } from "@rspp/store/pg-artifact-store";
import { pgPipelineStore } from "@rspp/store/pg-pipeline-store";
import { pgSessionStore } from "@rspp/store/pg-session-store";
import type { Instance, StatusReport } from "@rspp/store/session-store";
import { type Artifacts, createArtifacts } from "../artifacts.ts";
import { createFleet, type Fleet } from "../fleet.ts";
import { type CreateRoute, createRoutes, type RouteRequest } from "../routes.ts";
import { checkPipelineSource } from "../spec-check.ts";
import { createStatuses, type Statuses } from "../statuses.ts";
import { createTenantConfigs, createVersionDecision } from "../version-decision.ts";
import { createVersions, type Versions } from "../versions.ts";

export const echo = readFileSync(new URL("../../../../pipelines/specs/echo.yaml", import.meta.url), "utf8");
export const echoName = /^name: *(\S+)/m.exec(echo)?.[1] ?? "";

export interface Registry {
  readonly versions: Versions;
  readonly artifacts: Artifacts;
  readonly route: CreateRoute;
  readonly statuses: Statuses;
  readonly fleet: Fleet;
}

export interface Bench {
  now: number;
  registry(): Registry;
  request(part?: Partial<RouteRequest>): RouteRequest;
}

let count = 0;

export function bench(db: () => Database): Bench {
  const self: Bench = {
    now: 1_800_000_000_000,
    registry: () => {
      const clock = { wallMs: () => asWallMs(self.now) };
      const [pipelines, artifacts, sessions] = [pgPipelineStore(db()), pgArtifactStore(db()), pgSessionStore(db())];
      const decide = createVersionDecision({ artifacts, pipelines });
      const signer = { sign: async (claims: object) => JSON.stringify(claims) };
      const newId = (prefix: string) => `${prefix}_${count++}`;
      const configOf = createTenantConfigs(artifacts);
      const regionsOf = async (tenantId: string) => (await configOf(tenantId)).placement?.regions ?? [];
      return {
        versions: createVersions({ store: pipelines, clock, check: checkPipelineSource }),
        artifacts: createArtifacts({ pipelines, artifacts, clock }),
        route: createRoutes({ sessions, decide, signer, clock, newId }),
        statuses: createStatuses(sessions, clock),
        fleet: createFleet({ sessions, clock, regionsOf }),
      };
    },
    request: (part = {}) => ({
      tenantId: "t",
      pipelineName: echoName,
      pipelineVersion: 0,
      transport: "",
      sessionId: "",
      variables: {},
      region: "",
      requestKey: `key${count++}`,
      ...part,
    }),
  };
  return self;
}

export const instance = (instanceId: string, part: Partial<Instance> = {}): Omit<Instance, "reportedWallMs"> => ({
  instanceId,
  role: "runtime",
  address: `http://${instanceId}`,
  region: "eu",
  build: "1",
  capacitySessions: 2,
  sessions: 0,
  draining: false,
  ready: true,
  endpoints: { websocket: `ws://${instanceId}` },
  ...part,
});

export const publishing = (tenantId: string, text = "") => ({
  tenantId,
  version: 0,
  author: "ada",
  note: "",
  source: text === "" ? echo : echo.replace(/^description: .*$/m, `description: ${text}`),
  sourceFormat: "yaml" as const,
  validateOnly: false,
});

export const document = (tenantId: string, source: string) => ({
  tenantId,
  version: 0,
  author: "ada",
  note: "",
  source,
  sourceFormat: "yaml" as const,
  validateOnly: false,
  keepActive: false,
});

export const told = (tenantId: string, sessionId: string, part: Partial<StatusReport> = {}): StatusReport => ({
  session: { tenantId, sessionId },
  instanceId: "a",
  state: "active",
  reconnecting: false,
  degraded: false,
  authorityEpoch: 1,
  startedWallMs: 1,
  turns: 1,
  openTurnNumber: 0,
  recordingLevel: 0,
  asOfWallMs: 1,
  ...part,
});
