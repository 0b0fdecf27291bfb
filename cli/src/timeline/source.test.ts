import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSystemClock } from "@rspp/host/system-clock";
import { openNodeStore } from "@rspp/runtime/spool/node-store";
import { createSpool } from "@rspp/runtime/spool/spool";
import { afterAll, expect, test } from "vitest";
import { openSource } from "./source.ts";

const data = mkdtempSync(join(tmpdir(), "rspp-source-"));
afterAll(() => rmSync(data, { recursive: true, force: true }));

test("a session of this machine is whose the recording says; where several tenants have its id, one must be named", async () => {
  const store = openNodeStore(join(data, "spool"));
  if (!store.ok) throw new Error(store.error.detail);
  const spool = createSpool({ store: store.value, clock: createSystemClock() });
  for (const [tenantId, sessionId] of [
    ["acme", "both"],
    ["globex", "both"],
    ["globex", "one"],
  ] as const)
    spool.append({ tenantId, sessionId, epoch: 1 }, "session", JSON.stringify({ tenantId }));
  await spool.close();
  const of = (session: string, tenant?: string) =>
    openSource(
      session,
      { data, tenant: tenant ?? "local", replay: "" },
      { addressGiven: false, tenantGiven: tenant !== undefined },
    );
  expect(of("one")).toMatchObject({ kind: "local", tenant: "globex" });
  expect(of("both", "acme")).toMatchObject({ kind: "local", tenant: "acme" });
  expect(() => of("both")).toThrow(/both: recorded for the tenants acme, globex\n.*--tenant/);
  expect(of("nowhere")).toMatchObject({ kind: "local", tenant: "local" });
});
