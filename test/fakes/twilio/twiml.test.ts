import {
  connectStream,
  hangUp,
  joinParameter,
  redirect,
  reject,
  sayAndHangUp,
} from "@rspp/transport-telephony/twilio/twiml";
import twilio from "twilio";
import { expect, test } from "vitest";

const { VoiceResponse } = twilio.twiml;

test("F-085 documents are those that Twilio's own library writes", () => {
  const answer = new VoiceResponse();
  const stream = answer.connect().stream({ url: "wss://voice.example.com/v1/twilio/stream" });
  stream.parameter({ name: "token", value: `a<b>"&'` });
  answer.redirect({ method: "POST" }, "https://voice.example.com/v1/twilio/next");
  const url = "wss://voice.example.com/v1/twilio/stream";
  const next = "https://voice.example.com/v1/twilio/next";
  const written = (text: string): string =>
    text.replaceAll("&quot;", '"').replaceAll("&apos;", "'").replaceAll("&gt;", ">");
  expect(written(connectStream({ url, parameters: { token: `a<b>"&'` }, next }))).toBe(written(answer.toString()));
  const said = new VoiceResponse();
  said.say("Nobody is here.");
  said.hangup();
  expect(sayAndHangUp("Nobody is here.")).toBe(said.toString());
  const [over, busy, other] = [new VoiceResponse(), new VoiceResponse(), new VoiceResponse()];
  over.hangup();
  busy.reject({ reason: "busy" });
  other.redirect({ method: "POST" }, "https://app.example.com/after?session=a&reason=b");
  expect([hangUp(), reject(), redirect("https://app.example.com/after?session=a&reason=b")]).toEqual(
    [over, busy, other].map(String),
  );
});

test("a token longer than a parameter may be is sent in parts, and is whole again", () => {
  const token = Array.from({ length: 300 }, (_, i) => `part${i}`).join(".");
  const text = connectStream({ url: "wss://a/b", parameters: { token }, next: "https://a/c" });
  const found = [...text.matchAll(/<Parameter name="(\w+)" value="([^"]*)"\/>/g)].map(([, name = "", value = ""]) => [
    name,
    value,
  ]);
  expect(found.length).toBeGreaterThan(3);
  for (const [name = "", value = ""] of found) expect(name.length + value.length).toBeLessThanOrEqual(500);
  expect(joinParameter(Object.fromEntries(found), "token")).toBe(token);
  expect(joinParameter({}, "token")).toBe("");
});
