/**
 * X-Twilio-Signature: HMAC-SHA1 with the account's auth token over the address as Twilio called it, and the form's fields by
 * name (https://www.twilio.com/docs/usage/security).
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export type Form = Readonly<Record<string, string | readonly string[]>>;

/** `url`: as it stands in Twilio's configuration or in the TwiML, with query; the port of the scheme may be there or not. */
export function isSignedByTwilio(authToken: string, signature: string, url: string, form: Form): boolean {
  const fields = Object.keys(form)
    .sort()
    .map((name) => fieldText(name, form[name] ?? ""))
    .join("");
  const said = Buffer.from(signature);
  return addressesOf(url).some((address) => {
    const expected = Buffer.from(
      createHmac("sha1", authToken)
        .update(address + fields, "utf8")
        .digest("base64"),
    );
    return said.length === expected.length && timingSafeEqual(said, expected);
  });
}

function fieldText(name: string, value: string | readonly string[]): string {
  if (typeof value === "string") return name + value;
  return [...new Set(value)]
    .sort()
    .map((one) => name + one)
    .join("");
}

/** Twilio signs some addresses with the port that goes without saying, and some without. */
function addressesOf(url: string): string[] {
  const [, scheme = "", host = "", port = "", rest = ""] =
    /^([a-z]+:\/\/)((?:[^/?#@]*@)?(?:\[[^\]]*\]|[^/?#:]*))(:\d+)?(.*)$/is.exec(url) ?? [];
  if (scheme === "") return [url];
  const usual = /^(https|wss):/i.test(scheme) ? ":443" : ":80";
  return [...new Set([url, scheme + host + rest, scheme + host + (port || usual) + rest])];
}
