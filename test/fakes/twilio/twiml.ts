/** TwiML as far as a carrier of streams reads it; what it does not know it refuses, as Twilio does. */

export interface Answered {
  readonly verbs: readonly string[];
  readonly stream: { readonly url: string; readonly parameters: Record<string, string> } | null;
  readonly redirect: string | null;
  readonly said: string | null;
}

const PARAMETER_CHARS_MAX = 500;

/** @throws for what Twilio would not run. */
export function parseTwiml(text: string): Answered {
  const root = /^<\?xml version="1\.0" encoding="UTF-8"\?><Response>(.*)<\/Response>$/s.exec(text)?.[1];
  if (root === undefined) throw new Error(`no TwiML document: ${text.slice(0, 200)}`);
  const verbs: string[] = [];
  let stream: Answered["stream"] = null;
  let redirect: string | null = null;
  let said: string | null = null;
  const rest = root.replace(/<(\w+)([^>]*?)(?:\/>|>(.*?)<\/\1>)/gs, (_all, verb: string, _attributes, inner = "") => {
    verbs.push(verb);
    if (verb === "Connect") stream = streamOf(inner);
    if (verb === "Redirect") redirect = unescaped(inner);
    if (verb === "Say") said = unescaped(inner);
    return "";
  });
  if (rest.trim() !== "") throw new Error(`text between verbs: ${rest.slice(0, 100)}`);
  const strange = verbs.find((verb) => !["Connect", "Redirect", "Say", "Hangup", "Reject", "Dial"].includes(verb));
  if (strange !== undefined) throw new Error(`no verb of TwiML: ${strange}`);
  return { verbs, stream, redirect, said };
}

function streamOf(inner: string): { url: string; parameters: Record<string, string> } {
  const [, url = "", nouns = ""] = /^<Stream url="([^"]*)">(.*)<\/Stream>$/s.exec(inner) ?? [];
  const address = unescaped(url);
  if (!/^wss?:\/\//.test(address) || address.includes("?")) throw new Error(`no address of a stream: ${address}`);
  const parameters: Record<string, string> = {};
  const rest = nouns.replace(/<Parameter name="([^"]*)" value="([^"]*)"\/>/g, (_all, name: string, value: string) => {
    if (name.length + unescaped(value).length > PARAMETER_CHARS_MAX) throw new Error(`parameter ${name} is too long`);
    parameters[unescaped(name)] = unescaped(value);
    return "";
  });
  if (rest !== "") throw new Error(`no parameter: ${rest.slice(0, 100)}`);
  return { url: address, parameters };
}

function unescaped(text: string): string {
  const names: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
  return text.replace(/&(\w+);/g, (_all, name: string) => names[name] ?? "");
}
