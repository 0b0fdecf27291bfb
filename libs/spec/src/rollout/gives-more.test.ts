import { expect, test } from "vitest";
import { givesMore, type RolloutShares } from "./gives-more.ts";

const rules = (stable: number, canary = 0, percent = 0, tenants: Record<string, number> = {}): RolloutShares => ({
  stable,
  canary: canary === 0 ? null : { version: canary, perTenThousand: percent * 100 },
  tenants,
});

test.each([
  ["a first canary", rules(3), rules(3, 4, 10), { tenantId: "", version: 4, before: 0, after: 1_000 }],
  ["a larger share", rules(3, 4, 10), rules(3, 4, 11), { version: 4, before: 1_000, after: 1_100 }],
  ["a newer canary at the same share", rules(3, 4, 10), rules(3, 5, 10), { version: 5, before: 0 }],
  ["the canary made stable", rules(3, 4, 90), rules(4), { version: 4, before: 9_000, after: 10_000 }],
  ["a tenant's newer version", rules(3), rules(3, 0, 0, { acme: 4 }), { tenantId: "acme", version: 4 }],
  ["a tenant no longer held back", rules(3, 0, 0, { acme: 2 }), rules(3), { tenantId: "acme", version: 3 }],
])("NF-030 %s gives more", (_name, before, next, more) => {
  expect(givesMore(before, next)).toMatchObject(more);
});

test.each([
  ["the same", rules(3, 4, 10), rules(3, 4, 10)],
  ["a smaller share", rules(3, 4, 10), rules(3, 4, 9.5)],
  ["the canary's end", rules(3, 4, 10, { acme: 4 }), rules(3)],
  ["an older stable version", rules(3, 4, 10), rules(2, 4, 10)],
  ["an older canary", rules(3, 4, 10), rules(3, 2, 60)],
  ["a canary of nobody", rules(3), rules(3, 4, 0)],
  ["a tenant held back", rules(3, 4, 10), rules(3, 4, 10, { acme: 2 })],
])("NF-030 %s gives nobody more", (_name, before, next) => {
  expect(givesMore(before, next)).toBeNull();
});
