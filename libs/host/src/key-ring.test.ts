import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PublicKeyRow, TokenStore } from "@rspp/store/token-store";
import { afterEach, beforeEach, expect, test } from "vitest";
import { KeyRing, type KeyRingOptions } from "./key-ring.ts";

let dataDir: string;
let nowMs: number;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), "rspp-keys-"));
  nowMs = 1_000_000;
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

/** As the database does, in memory; see pg-token-store. */
function storeOf() {
  const rows = new Map<string, PublicKeyRow & { usedUntil: number; stolen: boolean; createdMs: number }>();
  const store = {
    listKeys: async (_purpose: string, atMs: number) =>
      [...rows.values()]
        .filter(({ notAfterWallMs: end }) => end === 0 || end > atMs)
        .sort((a, b) => b.createdMs - a.createdMs),
    publishKey: async (_purpose: string, key: { keyId: string; publicKey: Uint8Array }, atMs: number) => {
      const found = rows.get(key.keyId);
      if (found?.stolen === true) return "stolen" as const;
      rows.set(key.keyId, {
        ...key,
        notAfterWallMs: 0,
        usedUntil: found?.usedUntil ?? 0,
        stolen: false,
        createdMs: found?.createdMs ?? atMs,
      });
      return "published" as const;
    },
    noteUse: async (_purpose: string, keyId: string, untilMs: number) => {
      const found = rows.get(keyId);
      if (found !== undefined) rows.set(keyId, { ...found, usedUntil: Math.max(found.usedUntil, untilMs) });
    },
    retireKey: async (_purpose: string, keyId: string, ask: { notAfterWallMs: number; stolen: boolean }) => {
      const found = rows.get(keyId);
      const end = ask.stolen ? ask.notAfterWallMs : Math.max(found?.usedUntil ?? 0, ask.notAfterWallMs);
      if (found !== undefined) rows.set(keyId, { ...found, notAfterWallMs: end, stolen: ask.stolen });
      return end;
    },
  };
  return store as unknown as TokenStore;
}

const openWith = (store: TokenStore, over: Partial<KeyRingOptions> = {}) =>
  KeyRing.open({
    purpose: "session-token",
    place: { reference: "", dataDir, name: "session-token", env: {} },
    store,
    graceMs: 10_000,
    leadMs: 15_000,
    wallMs: () => nowMs,
    ...over,
  });

const idsOf = async (ring: KeyRing) => (await ring.list()).map(({ keyId }) => keyId);

test("F-169 a new key is published before it signs, the old one stays good for what it signed", async () => {
  const ring = await openWith(storeOf());
  const old = ring.current.keyId;
  await ring.noteUse(nowMs + 50_000);
  const rotated = await ring.rotate(false);
  expect(rotated.oldKeyId).toBe(old);
  // Verifiers have time to learn of it.
  expect(ring.current.keyId).toBe(old);
  expect(new Set(await idsOf(ring))).toEqual(new Set([old, rotated.keyId]));
  nowMs += 14_999;
  await ring.sweep();
  expect(ring.current.keyId).toBe(old);
  nowMs += 1;
  await ring.sweep();
  expect(ring.current.keyId).toBe(rotated.keyId);
  // Beyond the grace, until the token it was noted for has ended.
  nowMs += 34_000;
  expect(await idsOf(ring)).toContain(old);
  nowMs += 1_001;
  expect(await idsOf(ring)).toEqual([rotated.keyId]);
});

test("F-169 a stolen key is good for nothing from then on, and is not taken up again", async () => {
  const store = storeOf();
  const ring = await openWith(store);
  const old = ring.current.keyId;
  const { keyId, oldNotAfterWallMs } = await ring.rotate(true);
  expect([ring.current.keyId, oldNotAfterWallMs]).toEqual([keyId, nowMs]);
  nowMs += 1;
  expect(await idsOf(ring)).toEqual([keyId]);
  await store.retireKey("session-token", keyId, { notAfterWallMs: nowMs, stolen: true });
  // Another process that still has it in its data directory makes a new one.
  const next = await openWith(store);
  expect([old, keyId]).not.toContain(next.current.keyId);
});

test("F-169 a key by reference is taken up when it was changed there, and by that alone", async () => {
  const path = join(dataDir, "key.pem");
  const put = () => {
    const { privateKey } = generateKeyPairSync("ed25519");
    writeFileSync(path, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  };
  put();
  const place = { reference: `file:${path}`, dataDir, name: "x", env: {} };
  const ring = await openWith(storeOf(), { place, maxAgeMs: 1 });
  const old = ring.current.keyId;
  await expect(ring.rotate(false)).rejects.toMatchObject({
    code: "invalid",
    remedy: expect.stringMatching(/Change it/),
  });
  nowMs += 60_000;
  await ring.sweep();
  expect(ring.current.keyId).toBe(old);
  put();
  await ring.sweep();
  nowMs += 15_000;
  await ring.sweep();
  expect(ring.current.keyId).not.toBe(old);
  expect(await idsOf(ring)).toEqual([ring.current.keyId, old]);
});

test("F-169 NF-035 a key of the data directory is replaced at its age", async () => {
  const ring = await openWith(storeOf(), { maxAgeMs: 100_000 });
  const old = ring.current.keyId;
  nowMs += 99_999;
  await ring.sweep();
  expect(await idsOf(ring)).toEqual([old]);
  nowMs += 1;
  await ring.sweep();
  nowMs += 15_000;
  await ring.sweep();
  expect(ring.current.keyId).not.toBe(old);
});
