import { create } from "@bufbuild/protobuf";
import { Role } from "@rspp/gen/rspp/common/v1/access_pb";
import { RecordingLevel } from "@rspp/gen/rspp/common/v1/lane_pb";
import { type TimelineRecord, TimelineRecordSchema } from "@rspp/gen/rspp/replay/v1/timeline_pb";
import type { CallRecord } from "@rspp/rpc/call-audit";
import { RpcError } from "@rspp/rpc/errors";
import { expect, test } from "vitest";
import { TenantDirectory } from "./tenant-settings.ts";
import { type AccessAsk, levelOf, TimelineAccess } from "./timeline-access.ts";

const { L0, L1, L2, UNSPECIFIED } = RecordingLevel;

function bench(config: object | null) {
  const content = new TextEncoder().encode(config === null ? "no document" : JSON.stringify({ config }));
  const document = {
    tenantId: "acme",
    kind: "tenant_config",
    name: "default",
    version: 1,
    digest: "",
    content,
  } as const;
  const log: CallRecord[] = [];
  const tenants = new TenantDirectory({ list: async () => [document] }, () => 0);
  const access = new TimelineAccess({ tenants, sink: { record: async (record) => void log.push(record) } });
  /** What is missing; empty when it passed. */
  const ask = async (part: Partial<AccessAsk> & { role?: Role } = {}, recorded = L2): Promise<string> => {
    const { role = Role.VIEWER, ...rest } = part;
    const caller = { role, tenantId: "acme", name: "ada (atk_1)" };
    const common = {
      action: "timeline.read",
      caller,
      tenantId: "acme",
      sessionId: "s",
      purpose: "",
      fidelity: UNSPECIFIED,
    };
    try {
      await access.check({ ...common, ...rest }, recorded);
      return "";
    } catch (failure) {
      if (!(failure instanceof RpcError)) throw failure;
      return `${failure.detail.metadata.missing}`;
    }
  };
  return { ask, log };
}

test("F-153 a role sees up to the level that its tenant lets it see; who asks for more is told what is missing", async () => {
  const { ask, log } = bench({ timeline_access: { viewer: "L0", operator: "L1" } });
  expect(await ask({ fidelity: L0 })).toBe("");
  expect(await ask({ fidelity: L1 })).toBe("role");
  expect(await ask()).toBe("fidelity");
  expect(await ask({}, L0)).toBe("");
  expect(await ask({ role: Role.OPERATOR, fidelity: L1 })).toBe("");
  expect(await ask({ role: Role.OPERATOR, fidelity: L2 })).toBe("role");
  expect(await ask({ role: Role.ADMIN })).toBe("");
  expect(await ask({ role: Role.SERVICE })).toBe("");
  expect(log.map(({ action, detail }) => [action, detail.role, detail.fidelity, detail.missing])).toEqual([
    ["timeline.read", "viewer", "L0", undefined],
    ["denied timeline.read", "viewer", "L1", "role"],
    ["denied timeline.read", "viewer", "all", "fidelity"],
    ["timeline.read", "viewer", "all", undefined],
    ["timeline.read", "operator", "L1", undefined],
    ["denied timeline.read", "operator", "L2", "role"],
    ["timeline.read", "admin", "all", undefined],
    ["timeline.read", "service", "all", undefined],
  ]);
});

test("F-153 a tenant without rules lets every reader in as before; rules that cannot be read let nobody in", async () => {
  const free = bench({});
  expect(await free.ask()).toBe("");
  expect(await free.ask({ purpose: "anything" })).toBe("");
  const broken = bench(null);
  expect(await broken.ask({ purpose: "support", role: Role.ADMIN })).toBe("configuration");
  expect(await bench({ timeline_access: { purpose_required: true } }).ask()).toBe("purpose");
  expect(await bench({ timeline_access: { purposes: ["support"] } }).ask({ purpose: "other" })).toBe("purpose");
  expect(await bench({ timeline_access: { purposes: ["support"] } }).ask({ purpose: "support" })).toBe("");
});

test("F-153 evidence is shown at L0, the journal from L1 on, payloads and what is not known at L2 alone", () => {
  const record = (body: TimelineRecord["body"], level = L1) => levelOf(create(TimelineRecordSchema, { level, body }));
  const effect = (kind: string) => ({ case: "effect", value: { kind } }) as TimelineRecord["body"];
  const named = (kind: string) => ({ case: "canonicalRecord", value: { kind } }) as TimelineRecord["body"];
  const of = (name: string) => ({ case: name, value: {} }) as TimelineRecord["body"];
  expect(["evidence", "addendum", "marker", "header", "refusal"].map((name) => record(of(name), L2))).toEqual(
    Array(5).fill(L0),
  );
  expect([record(effect("signal"), L2), record(named("plan"), L2)]).toEqual([L0, L0]);
  expect([record(of("batch"), L1), record(of("batch"), L2), record(of("snapshot"), L1)]).toEqual([L1, L2, L1]);
  expect([record(effect("payload")), record(named("payload")), record(effect("egress_text"))]).toEqual([L2, L2, L2]);
});

test("F-153 where the list of configurations is cut off, a tenant that is not on it is not let in by mistake", async () => {
  const content = new TextEncoder().encode(JSON.stringify({ config: {} }));
  const common = { kind: "tenant_config", name: "default", version: 1, digest: "", content } as const;
  const list = (count: number) => Array.from({ length: count }, (_, n) => ({ ...common, tenantId: `t${n}` }));
  const of = (count: number) => new TenantDirectory({ list: async () => list(count) }, () => 0);
  expect(await of(4_096).settings("acme")).toMatchObject({ unreadable: true });
  expect(await of(4_096).settings("t7")).toMatchObject({ unreadable: false });
  expect(await of(4_095).settings("acme")).toMatchObject({ unreadable: false });
});
