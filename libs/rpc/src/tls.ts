/** TLS and mutual TLS of both stacks, from PEM text. */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";

/** `ca` makes a server ask for client certificates and refuse those it does not sign (mTLS). */
export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

/** `ca` replaces the public roots; `cert` and `key` are shown to a server that asks. */
export interface ClientTls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Name the server's certificate must hold, where it is not the host of the address. */
  readonly serverName?: string;
}

export function serverCredentials(tls: ServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}

export function channelCredentials(tls: ClientTls | undefined): ChannelCredentials {
  if (tls === undefined) return ChannelCredentials.createInsecure();
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  return ChannelCredentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

/** Options of node:tls for a server of the Connect stack. */
export function serverTlsOptions(tls: ServerTls): {
  cert: string;
  key: string;
  ca?: string;
  requestCert: boolean;
  rejectUnauthorized: boolean;
} {
  const { cert, key, ca } = tls;
  const mutual = ca !== undefined;
  return { cert, key, ...(mutual ? { ca } : {}), requestCert: mutual, rejectUnauthorized: mutual };
}

/** Options of node:tls for a client of the Connect stack. */
export function clientTlsOptions(tls: ClientTls): { ca?: string; cert?: string; key?: string; servername?: string } {
  const { serverName, ...pems } = tls;
  return { ...pems, ...(serverName === undefined ? {} : { servername: serverName }) };
}

/** The parts of a certificate that hold names. */
export interface NamedCertificate {
  readonly subject?: { readonly CN?: string | string[] };
  readonly subjectaltname?: string;
}

/** Common name and DNS names. */
export function namesOf(certificate: NamedCertificate | undefined): readonly string[] {
  const alternatives = (certificate?.subjectaltname ?? "").split(",").map((name) => name.trim().replace(/^DNS:/, ""));
  return [certificate?.subject?.CN ?? [], alternatives].flat().filter((name) => name !== "");
}

const namesBySocket = new WeakMap<Socket, readonly string[]>();

/** Of the client, where the server asked for a certificate and its CA has signed it; else none. */
export function certificateNames(socket: Socket): readonly string[] {
  // HTTP/2 hands out a stand-in for its socket that is no instance of it, but reads through.
  const tls = socket as Partial<TLSSocket>;
  if (tls.encrypted !== true || tls.authorized !== true || typeof tls.getPeerCertificate !== "function") return [];
  const known = namesBySocket.get(socket);
  if (known !== undefined) return known;
  const names = namesOf(tls.getPeerCertificate());
  namesBySocket.set(socket, names);
  return names;
}
