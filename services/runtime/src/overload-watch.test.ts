import type { GraphDefinition } from "@rspp/kernel/graph";
import type { SessionConfig } from "@rspp/kernel/session-config";
import { expect, test } from "vitest";
import { limits } from "./limits.ts";
import { overloadWatch } from "./overload-watch.ts";

const MS = 1_000_000;
const config = (graph: Partial<GraphDefinition>): SessionConfig => ({ graph }) as SessionConfig;

test("NF-006 inputs that wait too long for the core make the session step down, told once a second", () => {
  const watch = overloadWatch(config({ degrade: { postures: [], calmMs: 0, textOnly: true } }));
  const late = limits.OVERLOAD_WAIT_MS * MS;
  expect(watch?.look(0, undefined)).toBeNull();
  expect(watch?.look(late - 1, 0)).toBeNull();
  expect(watch?.look(late, 0)).toMatchObject({ type: "capacity", overload: true });
  expect(watch?.look(late + 500 * MS, 0)).toBeNull();
  expect(watch?.look(late + limits.OVERLOAD_TELL_MS * MS, 0)).toMatchObject({ overload: true });
});

test("a pipeline that has nowhere to step down to is not watched", () => {
  expect(overloadWatch(config({}))).toBeNull();
});
