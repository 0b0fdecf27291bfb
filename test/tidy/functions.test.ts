import { expect, test } from "vitest";
import { functionsOf } from "./functions.ts";

const seen = (source: string): string[] => functionsOf(source).map((f) => `${f.name}:${f.line}+${f.lines}`);

test.each([
  ["function plain(a: number) {\n  return a;\n}", ["plain:1+3"]],
  ["export function typed<T>(a: T): Map<T, () => void> {\n\n}", ["typed:1+3"]],
  ["function shaped(): { a: number } | null {\n}", ["shaped:1+2"]],
  ["function asserted(x: unknown): asserts x is string {\n}", ["asserted:1+2"]],
  ["function returnsFunction(): (a: number) => void {\n}", ["returnsFunction:1+2"]],
  ["const arrow = (a: number): number => {\n  return a;\n};", ["arrow:1+3"]],
  ["const typedArrow: F = (a) => {\n};", ["typedArrow:1+2"]],
  ["class C {\n  method(a = f()): void {\n  }\n  get x() {\n  }\n}", ["method:2+2", "x:4+2"]],
  ["list.map((a) => {\n});", ["list.map((a) => {:1+2"]],
  ["function many(\n  a: number,\n  b: number,\n): void {\n}", ["many:1+5"]],
  ["if (a) {\n}\nfor (const x of y(z)) {\n}\nwhile (b) {\n}\nswitch (c) {\n  case d(): {\n  }\n}", []],
  ["switch (c) {\n  case d():\n    return { a: 1 };\n}", []],
  ["const x = a ? f(b) : { c: 1 };\nif (y) {\n}", []],
  ["const short = (a) => a + 1;", []],
  ['describe("group", () => {\n  test("one", () => {\n  });\n});', ['test("one", () => {:2+2']],
  ['describe.each([\n  f(1),\n])("group %s", (a) => {\n  test("one", () => {\n  });\n});', ['test("one", () => {:4+2']],
  ['const s = "function no() {";\n// function no() {', []],
  ["export async function later(): Promise<void> {\n}", ["later:1+2"]],
])("finds the functions of %j", (source, expected) => {
  expect(seen(source).sort()).toEqual([...expected].sort());
});
