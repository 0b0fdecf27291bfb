import { hostname } from "node:os";
import { expect, test } from "vitest";
import { dialAddress } from "./address.ts";

test.each([
  ["127.0.0.1", "127.0.0.1:7203"],
  ["runtime.local", "runtime.local:7203"],
  ["::1", "[::1]:7203"],
  ["0.0.0.0", `${hostname()}:7203`],
  ["::", `${hostname()}:7203`],
])("what listens on %s is dialled at %s", (host, address) => {
  expect(dialAddress({ host, port: 7203 })).toBe(address);
});
