import { expect, test } from "vitest";
import { destinationOf, parseNumbers } from "./numbers.ts";

test("F-085 a number leads to a pipeline of a tenant; the star to all others", () => {
  const parsed = parseNumbers("+15550100=acme/phone-menu@3, *=acme/voice-assistant,sip:desk@example.com=beta/echo");
  if (!parsed.ok) throw new Error(parsed.error);
  expect(destinationOf(parsed.value, "+15550100")).toEqual({ tenant: "acme", pipeline: "phone-menu", version: 3 });
  expect(destinationOf(parsed.value, "+1")).toEqual({ tenant: "acme", pipeline: "voice-assistant", version: 0 });
  expect(destinationOf(parsed.value, "sip:desk@example.com")?.tenant).toBe("beta");
  const none = parseNumbers("");
  expect(none.ok && destinationOf(none.value, "+1")).toBe(undefined);
});

test.each(["+1=acme", "=acme/echo", "+1=acme/Echo", "+1=acme/echo@x", "nonsense"])(
  "%s is refused as it stands",
  (text) => {
    expect(parseNumbers(`*=a/b, ${text}`)).toEqual({ ok: false, error: text });
  },
);
