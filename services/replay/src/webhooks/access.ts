/**
 * What webhooks may reach and what they are signed with. Addresses and references come from tenants, so that whoever
 * runs the service says which private places may be called, and which references a tenant may name: without that only
 * public https, and no secret at all.
 */
import type { LookupAddress } from "node:dns";
import { BlockList, isIP } from "node:net";
import { secretSource } from "@rspp/store/secret";

const local = new BlockList();
for (const [net, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const)
  local.addSubnet(net, bits, "ipv4");
// Of IPv6 nothing but global unicast is public; within it, what leads into an IPv4 net or is for documents is not.
const global6 = new BlockList();
global6.addSubnet("2000::", 3, "ipv6");
for (const [net, bits] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const)
  local.addSubnet(net, bits, "ipv6");

/** Whether an address is of the public internet; false for what is no address. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !local.check(address, "ipv4");
  return family === 6 && global6.check(address, "ipv6") && !local.check(address, "ipv6");
}

export interface WebhookAccess {
  /** Whether the origin may be called wherever its name leads. */
  anyAddress(url: URL): boolean;
  /** The present value; null where the tenant may not name the reference. Rejects with a StoreError where nothing is there. */
  secret(tenantId: string, reference: string): Promise<string | null>;
}

export function webhookAccess(
  lists: {
    /** `https://host:port` or `http://host:port`, private ones too. */
    readonly origins: readonly string[];
    /** `tenant=reference`; `*=reference`: any tenant may name it. */
    readonly secrets: readonly string[];
  },
  env: Readonly<Record<string, string | undefined>> = process.env,
): WebhookAccess {
  const allowed = new Set(lists.secrets);
  return {
    anyAddress: (url) => lists.origins.includes(url.origin),
    secret: async (tenantId, reference) => {
      if (!allowed.has(`${tenantId}=${reference}`) && !allowed.has(`*=${reference}`)) return null;
      return (await secretSource(reference, env).read()).reveal();
    },
  };
}

/** Why a URL may not be called at all; empty when it may, as far as can be told before its name is looked up. */
export function refusalOf(url: URL, access: WebhookAccess): string {
  if (access.anyAddress(url)) return "";
  if (url.protocol !== "https:") return "no https";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return isIP(host) !== 0 && !isPublicAddress(host) ? "private address" : "";
}

/** The name leads where it must not. */
export class PrivateAddressError extends Error {
  constructor() {
    super("the name leads to a private address");
  }
}

/** Looked at where the connection is made, so that a name cannot lead elsewhere in between. */
export function onlyPublic(found: readonly LookupAddress[]): readonly LookupAddress[] {
  if (found.length === 0 || !found.every(({ address }) => isPublicAddress(address))) throw new PrivateAddressError();
  return found;
}
