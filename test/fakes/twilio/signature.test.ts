import { isSignedByTwilio } from "@rspp/transport-telephony/twilio/signature";
import fc from "fast-check";
import twilio from "twilio";
import { expect, test } from "vitest";

const token = "12345678901234567890123456789012";
const form = { CallSid: "CA1", From: "+15550199", To: "+15550100", Empty: "" };
const sign = (url: string, fields: Record<string, string>, key = token) =>
  twilio.getExpectedTwilioSignature(key, url, fields);

test.each([
  ["https://voice.example.com/v1/twilio/voice"],
  ["https://voice.example.com:8443/v1/twilio/voice?a=b&c='d'"],
  ["wss://voice.example.com/v1/twilio/stream"],
  ["http://127.0.0.1:7207/v1/twilio/voice"],
  ["http://[::1]/v1/twilio/voice"],
])("F-085 what Twilio's own library signs is taken: %s", (url) => {
  expect(isSignedByTwilio(token, sign(url, form), url, form)).toBe(true);
  expect(isSignedByTwilio(token, sign(url, form, "another"), url, form)).toBe(false);
  expect(isSignedByTwilio(token, sign(url, form), url, { ...form, To: "+15550101" })).toBe(false);
  expect(isSignedByTwilio(token, sign(url, form), `${url}/x`, form)).toBe(false);
  for (const other of ["", "AAAA", `${sign(url, form)} `, "ü"])
    expect(isSignedByTwilio(token, other, url, form)).toBe(false);
});

test("the port of the scheme may be signed or not", () => {
  const [without, by443] = ["https://voice.example.com/a", "https://voice.example.com:443/a"];
  expect(isSignedByTwilio(token, sign(by443, {}), without, {})).toBe(true);
  expect(isSignedByTwilio(token, sign(without, {}), by443, {})).toBe(true);
});

test("F-085 it agrees with Twilio's own check, whatever the form", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 12 });
  const fields = fc.dictionary(
    fc.string({ minLength: 1, maxLength: 8 }),
    fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 3 })),
  );
  const url = "https://voice.example.com/v1/twilio/voice";
  fc.assert(
    fc.property(fields, text, fc.boolean(), (found, other, honest) => {
      const plain = { ...found } as Record<string, string>;
      const signature = honest ? sign(url, plain) : other;
      expect(isSignedByTwilio(token, signature, url, plain)).toBe(twilio.validateRequest(token, signature, url, plain));
    }),
  );
});
