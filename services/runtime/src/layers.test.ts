import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadLayers } from "./layers.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rspp-layers-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function put(file: string, layer: string, name: string, body = ""): void {
  writeFileSync(join(folder, file), `schema: rspp/overrides/v1\nlayer: ${layer}\nname: ${name}\nversion: 1\n${body}`);
}

test("F-080 a tenant gets its environment's layer and its own, in this order", async () => {
  put("a-acme.yaml", "tenant", "acme");
  put("production.yaml", "environment", "production");
  put("staging.yaml", "environment", "staging");
  const layers = await loadLayers(folder, "production");
  if (!layers.ok) throw new Error(layers.error);
  const names = (tenant: string) => layers.value.of(tenant).map(({ layer, name }) => `${layer}/${name}`);
  expect(names("acme")).toEqual(["environment/production", "tenant/acme"]);
  expect(names("other")).toEqual(["environment/production"]);
});

test("F-080 NF-015 what is wrong with a layer is found at the start, every fault with file, line and remedy", async () => {
  put("acme.yaml", "tenant", "acme", "policy: {barge: true}\n");
  put("mine.yaml", "session", "mine");
  const layers = await loadLayers(folder, "prod");
  const told = layers.ok ? "" : layers.error;
  expect(told).toContain("acme.yaml:5:10: error: policy.barge");
  expect(told).toContain("help: legal fields: id, barge_in");
  expect(told).toContain("mine.yaml: a session brings its own layer");
  expect(told).toContain("no layer is of environment prod");
  const absent = await loadLayers(join(folder, "absent"), "");
  expect(absent.ok ? "" : absent.error).toContain("name an existing folder");
});
