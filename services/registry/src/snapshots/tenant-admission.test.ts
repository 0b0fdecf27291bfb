import { fromBinary } from "@bufbuild/protobuf";
import { OverRateAction } from "@rspp/gen/rspp/registry/v1/admission_pb";
import { AdmissionSnapshotSchema } from "@rspp/gen/rspp/registry/v1/snapshot_pb";
import { expect, test } from "vitest";
import { admissionContent } from "./tenant-admission.ts";

const document = (tenantId: string, version: number, config: object) => ({
  tenantId,
  kind: "tenant_config" as const,
  name: "default",
  version,
  digest: "",
  content: new TextEncoder().encode(JSON.stringify({ config })),
});

test("F-050 runtimes are told every tenant's rates, its own over the platform's, and those of all others", async () => {
  const platform = document("*", 3, { sessions: { concurrent_max: 9 }, turns: { per_minute: 600, burst: 5 } });
  const own = document("acme", 7, { turns: { per_session_per_minute: 30, on_exceeded: "degrade", per_minute: 60 } });
  const content = await admissionContent({ list: () => Promise.resolve([platform, own]) });
  expect(fromBinary(AdmissionSnapshotSchema, content).tenants).toMatchObject([
    { tenantId: "*", configVersion: 3, sessionsMax: 9, turnsPerMinute: 600, turnsOver: OverRateAction.THROTTLE },
    {
      tenantId: "acme",
      configVersion: 7,
      sessionsMax: 9,
      turnsPerMinute: 60,
      turnsBurst: 5,
      sessionTurnsPerMinute: 30,
      turnsOver: OverRateAction.DEGRADE,
    },
  ]);
  const nothing = fromBinary(AdmissionSnapshotSchema, await admissionContent({ list: () => Promise.resolve([]) }));
  expect(nothing.tenants).toMatchObject([{ tenantId: "*", configVersion: 0, turnsPerMinute: 0 }]);
});
