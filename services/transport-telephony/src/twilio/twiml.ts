/** The TwiML documents that this adapter answers with. */

export interface StreamAnswer {
  /** `wss://…` without a query: Twilio passes none on. */
  readonly url: string;
  readonly parameters: Readonly<Record<string, string>>;
  /** Asked for when the stream has ended while the call goes on; what is next is answered there. */
  readonly next: string;
}

/** Name and value of a parameter together may have 500 characters; a token has more. */
const PARAMETER_CHARS_MAX = 480;

export function connectStream({ url, parameters, next }: StreamAnswer): string {
  const lines = Object.entries(parameters)
    .flatMap(([name, value]) => splitParameter(name, value))
    .map(([name, value]) => `<Parameter name="${escaped(name)}" value="${escaped(value)}"/>`);
  return document(
    `<Connect><Stream url="${escaped(url)}">${lines.join("")}</Stream></Connect>`,
    `<Redirect method="POST">${escaped(next)}</Redirect>`,
  );
}

export function hangUp(): string {
  return document("<Hangup/>");
}

/** The carrier asks elsewhere. */
export function redirect(url: string): string {
  return document(`<Redirect method="POST">${escaped(url)}</Redirect>`);
}

/** Busy signal for a call that is not answered: it costs the caller nothing. */
export function reject(): string {
  return document('<Reject reason="busy"/>');
}

export function sayAndHangUp(text: string): string {
  return document(`<Say>${escaped(text)}</Say>`, "<Hangup/>");
}

/** `token`, `token_2`, …: joined again by `joinParameter`. */
function splitParameter(name: string, value: string): [string, string][] {
  const parts: [string, string][] = [];
  const room = PARAMETER_CHARS_MAX - name.length - 4;
  for (let at = 0; at < value.length || at === 0; at += room)
    parts.push([parts.length === 0 ? name : `${name}_${parts.length + 1}`, value.slice(at, at + room)]);
  return parts;
}

export function joinParameter(parameters: Readonly<Record<string, string>>, name: string): string {
  let whole = parameters[name] ?? "";
  for (let part = 2; Object.hasOwn(parameters, `${name}_${part}`); part++) whole += parameters[`${name}_${part}`] ?? "";
  return whole;
}

function document(...verbs: string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?><Response>${verbs.join("")}</Response>`;
}

function escaped(text: string): string {
  const names: Readonly<Record<string, string>> = { "&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos" };
  return text.replace(/[&<>"']/g, (found) => `&${names[found]};`);
}
