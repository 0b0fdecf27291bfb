import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ChainCheck } from "./audit-chain.ts";
import type { AuditHead } from "./audit-store.ts";
import { openDatabase } from "./database.ts";
import { pgAuditStore } from "./pg-audit-store.ts";
import { pgTokenStore } from "./pg-token-store.ts";
import { type TestDatabase, testDatabase } from "./testkit/test-database.ts";

let at: TestDatabase;
beforeAll(async () => {
  at = await testDatabase();
}, 60_000);
afterAll(() => at.close());

const entry = (subject: string, tenantId = "acme") => ({
  tenantId,
  atWallMs: 1_700_000_000_000,
  actor: "ci (atk_1)",
  action: "rspp.registry.v1.RegistryService/PublishPipeline",
  subject,
  detail: { outcome: "done", words: 'quoted "text" with ümlauts', n: 1.5 },
});

/** What a reader of the whole chain finds, as an operator would. */
async function faults(anchor: AuditHead | null = null) {
  const store = pgAuditStore(at.db);
  const check = new ChainCheck(undefined, anchor);
  for (let fromId = 1; ; ) {
    const links = await store.read({ fromId, limit: 7 });
    for (const link of links) check.feed(link);
    if (links.length < 7) break;
    fromId = (links.at(-1)?.id ?? 0) + 1;
  }
  return check.finish(await store.head());
}

/** As someone with the rights of the database's owner would, past every guard; undone afterwards. */
async function tampered(statement: string, look: () => Promise<unknown>) {
  const run = (text: string) => at.db.transaction((tx) => tx.execute(sql.raw(text)));
  await run("CREATE TABLE public.kept AS SELECT * FROM rspp.audit");
  await run("ALTER TABLE rspp.audit DISABLE TRIGGER USER");
  await run(statement);
  const found = await look();
  await run("DELETE FROM rspp.audit");
  await run("INSERT INTO rspp.audit SELECT * FROM public.kept");
  await run("ALTER TABLE rspp.audit ENABLE TRIGGER USER");
  await run("DROP TABLE public.kept");
  return found;
}

test("F-170 writers at once, in transactions that fail too, leave one chain without a gap", async () => {
  const other = await openDatabase({ dataDir: at.dataDir }).catch(() => at.db);
  const stores = [pgAuditStore(at.db), pgAuditStore(other)];
  const failing = at.db.transaction(async (tx) => {
    await tx.execute(
      sql.raw(
        "INSERT INTO rspp.audit (tenant_id, at_wall_ms, actor, action, subject, detail) VALUES ('x', 1, 'a', 'b', 'c', '{}')",
      ),
    );
    throw new Error("given up");
  });
  await Promise.allSettled([failing]);
  await Promise.all(
    Array.from({ length: 20 }, (_, i) => stores[i % 2]?.appendMany([entry(`${i}a`), entry(`${i}b`, "other")])),
  );
  expect(await faults()).toEqual([]);
  const head = await pgAuditStore(at.db).head();
  expect(head.id).toBe(40);
  const listed = await pgAuditStore(at.db).list({ tenantId: "acme", limit: 100, action: "PublishPipeline" });
  expect(listed).toHaveLength(20);
  expect(listed[0]?.detail).toEqual(entry("").detail);
});

test("F-170 F-097 an edited, a removed and an inserted record are found and named", async () => {
  const seen = await pgAuditStore(at.db).head();
  expect(await tampered("UPDATE rspp.audit SET actor = 'eve' WHERE id = 5", faults)).toMatchObject([
    { id: 5, kind: "edited" },
  ]);
  expect(await tampered(`UPDATE rspp.audit SET detail = '{"outcome":"denied"}' WHERE id = 40`, faults)).toMatchObject([
    { id: 40, kind: "edited" },
  ]);
  expect(await tampered("DELETE FROM rspp.audit WHERE id = 9", faults)).toMatchObject([{ id: 9, kind: "removed" }]);
  // The last ones leave no gap, but the head remembers.
  expect(await tampered("DELETE FROM rspp.audit WHERE id > 38", faults)).toMatchObject([{ id: 39, kind: "removed" }]);
  const insert = `INSERT INTO rspp.audit (id, tenant_id, at_wall_ms, actor, action, subject, detail, previous, digest)
    SELECT 41, tenant_id, at_wall_ms, 'eve', action, subject, detail, digest, digest FROM rspp.audit WHERE id = 40`;
  expect(await tampered(insert, faults)).toMatchObject([{ id: 41 }, { id: 41, kind: "inserted" }]);
  // Whoever computes the whole chain anew is found by a record that was kept elsewhere.
  const anew = `UPDATE rspp.audit SET actor = 'eve', digest = sha256(previous || 'x') WHERE id = 40`;
  const anchored = await tampered(anew, () => faults(seen));
  expect(anchored).toContainEqual(expect.objectContaining({ id: 40, what: expect.stringContaining("seen before") }));
  expect(await faults(seen)).toEqual([]);
});

test("F-097 a report that is sent twice is written once", async () => {
  const store = pgAuditStore(at.db);
  const { id } = await store.head();
  await Promise.all([store.appendMany([entry("r")], "key-1"), store.appendMany([entry("r")], "key-1")]);
  expect((await store.head()).id).toBe(id + 1);
  await expect(store.append({ ...entry("big"), detail: { x: "y".repeat(20_000) } })).rejects.toMatchObject({
    code: "invalid",
  });
});

test("F-115 tokens are listed newest first and taken back once, of their own tenant alone", async () => {
  const store = pgTokenStore(at.db);
  const row = (n: number, tenantId = "acme") => ({
    tokenId: `atk_${tenantId}_${n}`,
    tenantId,
    subject: "ci",
    role: 3,
    issuedWallMs: n,
    expiresWallMs: 1_000,
    revokedWallMs: 0,
    createdBy: "local",
  });
  for (const n of [1, 2, 3]) await store.addToken(row(n));
  await store.addToken(row(9, "other"));
  const first = await store.listTokens({ tenantId: "acme", limit: 2, after: null });
  expect(first.tokens.map(({ issuedWallMs }) => issuedWallMs)).toEqual([3, 2]);
  const rest = await store.listTokens({ tenantId: "acme", limit: 2, after: first.next });
  expect([rest.tokens.map(({ issuedWallMs }) => issuedWallMs), rest.next]).toEqual([[1], null]);
  expect(await store.revokeToken("other", "atk_acme_1", 10)).toBeUndefined();
  expect((await store.revokeToken("acme", "atk_acme_1", 10))?.revokedWallMs).toBe(10);
  expect((await store.revokeToken("acme", "atk_acme_1", 20))?.revokedWallMs).toBe(10);
  expect([await store.revokedIds(999), await store.revokedIds(1_000)]).toEqual([["atk_acme_1"], []]);
});

test("F-169 a key that signed is good until what it signed ends, a stolen one not at all", async () => {
  const store = pgTokenStore(at.db);
  const key = (keyId: string) => ({ keyId, publicKey: new Uint8Array(32) });
  const ids = async (nowMs: number) => (await store.listKeys("session-token", nowMs)).map(({ keyId }) => keyId);
  expect(await store.publishKey("session-token", key("old"), 1)).toBe("published");
  await store.noteUse("session-token", "old", 5_000);
  expect(await store.publishKey("session-token", key("new"), 2)).toBe("published");
  const retired = await store.retireKey("session-token", "old", { notAfterWallMs: 100, stolen: false });
  expect([retired, await ids(4_999), await ids(5_000)]).toEqual([5_000, ["new", "old"], ["new"]]);
  await store.retireKey("session-token", "new", { notAfterWallMs: 50, stolen: true });
  expect(await ids(51)).toEqual(["old"]);
  expect(await store.publishKey("session-token", key("new"), 60)).toBe("stolen");
  expect([await ids(61), await store.listKeys("lease-grant", 1)]).toEqual([["old"], []]);
});
