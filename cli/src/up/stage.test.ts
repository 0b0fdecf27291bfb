import { expect, test } from "vitest";
import { CommandError } from "../errors.ts";
import { Names } from "./names.ts";
import { startTogether } from "./stage.ts";

test("a stage that fails is told of when nobody in it is still starting, with its first failure", async () => {
  const told: string[] = [];
  const slow = Promise.withResolvers<void>();
  const started = slow.promise.then(() => void told.push("started"));
  const stage = startTogether([started, Promise.reject(new Error("lease")), Promise.reject(new Error("replay"))]);
  const failed = stage.catch((failure: Error) => void told.push(failure.message));
  await new Promise((resolve) => setImmediate(resolve));
  expect(told).toEqual([]);
  slow.resolve();
  await failed;
  expect(told).toEqual(["started", "lease"]);
  await startTogether([started]);
});

test("services of a platform that share an instance id are refused, with where it is set", () => {
  const names = new Names();
  names.take("registry", "west-1");
  names.take("lease", "lease-1");
  // Started again.
  names.take("lease", "lease-1");
  expect(() => names.take("runtime", "west-1")).toThrow(CommandError);
  expect(() => names.take("runtime", "west-1")).toThrow(/runtime.*registry.*west-1[\s\S]*RSPP_RUNTIME_INSTANCE_ID/);
});
