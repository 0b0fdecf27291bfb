import { expect, test } from "vitest";
import { p1Subjects } from "./p1-frame.ts";

test.each(p1Subjects())("P1 measures frames that come out: %s", (_name, frame) => {
  expect(() => {
    for (let i = 0; i < 60; i++) frame();
  }).not.toThrow();
});
