import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { foldersOf, openNodeHosts } from "./open-hosts.ts";

const examples = fileURLToPath(new URL("../../../../pipelines/nodes", import.meta.url));

test("F-121 workers and WebAssembly side by side, each package by its host", async () => {
  const hosts = await openNodeHosts([examples]);
  expect(hosts?.describe("gain@1.0.0")?.host).toBe("worker");
  expect(hosts?.describe("wasm-gain@1.0.0")?.host).toBe("wasm");
  await hosts?.close();
});

test("nothing is opened where nothing is named; places are split at commas", async () => {
  expect(await openNodeHosts([])).toBeNull();
  expect(foldersOf(" a, grpc://b:1 ,,")).toEqual(["a", "grpc://b:1"]);
});

test.each([
  ["grpc://nowhere", "write a node host as grpc://host:port"],
  ["grpc://127.0.0.1:1", "grpc://127.0.0.1:1: "],
])("NF-015 %s is refused with its name and the remedy", async (place, words) => {
  await expect(openNodeHosts([examples, place])).rejects.toThrow(words);
});
